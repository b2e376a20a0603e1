"""Two sets of tokens, such as TinyLlama's of text and of code, mixed in exact proportions; and a run
that is stopped, and goes on elsewhere as if it had not been.

TEXT and CODE are folders: each file is a document. By default, the sources of Python's library are
the code, and what their comments and docstrings say the text.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms

SEED, END = 42, 256


def tokenize(path: str) -> np.ndarray:
    """Bytes as tokens, and one for the end. For a tokenizer that learns, see tokenize_text.py."""
    return np.append(np.frombuffer(Path(path).read_bytes(), np.uint8).astype(np.uint16), END)
