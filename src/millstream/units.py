"""Bytes as people write and read them."""

from __future__ import annotations

import re

from millstream.errors import UsageError

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kKMGT]?)(i?)[bB]?\s*")


def parse_size(value: int | str, name: str) -> int:
    """Bytes from a number or from text: "64MB" is decimal, "64MiB" binary.

    Raises UsageError, which calls the value `name`, for what is no size of at least one byte.
    """
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        number, prefix, binary = match.groups()
        base = 1024 if binary else 1000
        count = int(float(number) * base ** " kMGT".index(prefix.replace("K", "k") or " "))
    elif type(value) is int:
        count = value
    else:
        count = 0
    if count < 1:
        raise UsageError(f"{name} is {value!r}, expected bytes such as 64_000_000 or '64MB'")
    return count


def size_text(count: float) -> str:
    """Bytes for a person, in decimal units."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
