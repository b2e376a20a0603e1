"""`python -m millstream.cli`, where the command `millstream` is not on the path."""

import sys

from millstream.cli import main

sys.exit(main())
