"""Keeps one program: runs it, ends it when the starter is gone, ends when it ends.

python -m servers.keeper PROGRAM, which is process.Program as JSON. The program gets SIGKILL:
servers take long to end politely, and these own nothing that has to be put in order.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path


def main(program: str) -> None:
    settings = json.loads(program)
    process = subprocess.Popen(
        settings["command"],
        env={**os.environ, **settings["environment"]},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
    )

    def end_with_the_program() -> None:
        code = process.wait()
        for path in settings["leaves"]:
            Path(path).unlink(missing_ok=True)
        os._exit(1 if code else 0)

    threading.Thread(target=end_with_the_program).start()
    while os.read(0, 4096):
        pass
    process.kill()


if __name__ == "__main__":
    main(sys.argv[1])
