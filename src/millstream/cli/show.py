"""Text for people and JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from millstream.writing.progress import Bar


def print_json(document: Mapping[str, object]) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, indent=2, allow_nan=False))


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, right: str = "") -> list[str]:
    """Aligned lines. right: the titles, joined by spaces, of columns that hold numbers."""
    cells = [list(titles), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numbers = [title in right.split() for title in titles]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in cells
    ]


def pairs(facts: Iterable[tuple[str, str]]) -> list[str]:
    """Aligned lines of a name and what it is; those that are nothing are left out."""
    known = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in known), default=0)
    return [f"{name.ljust(width)}  {value}" for name, value in known]


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def shorten(text: str, most: int = 70) -> str:
    """Text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def dtype_text(dtype: str) -> str:
    """A schema's dtype by the name that people know, if that says all: float32 for <f4."""
    try:
        named = np.dtype(dtype)
    except TypeError:  # a tensor's, such as bfloat16
        return dtype
    return named.name if dtype and named.isnative and named.kind in "biufc" else dtype


def reason(error: Exception) -> str:
    """What an error says, without Python's way of saying it."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def note(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr)


def progress(nbytes: int | None) -> Bar:
    """A bar over so many bytes (None: not known), on stderr, if that is a terminal."""
    return Bar(
        total=nbytes,
        unit="B",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
        leave=False,
    )
