"""What chunk_bytes and chunk_size ask for."""

from __future__ import annotations

from millstream.errors import UsageError
from millstream.format import MAX_ROWS
from millstream.units import parse_size
from millstream.writing.cuts import MAX_TOKENS, Limits

DEFAULT_CHUNK_BYTES = 64_000_000
UNLIMITED = 1 << 62
# A chunk of tokens has a header of some 400 bytes; documents are cut to what is left.
MIN_TOKEN_CHUNK_BYTES = 4_000


def limits_of(chunk_bytes: int | str | None, chunk_size: int | None, *, has_tokens: bool) -> Limits:
    """From what was given; raises UsageError for what makes no sense."""
    most, what = (MAX_TOKENS, "tokens") if has_tokens else (MAX_ROWS, "samples")
    if chunk_size is not None and (type(chunk_size) is not int or not 1 <= chunk_size <= most):
        raise UsageError(f"chunk_size is {chunk_size!r}, expected 1 to {most} {what}")
    count = most if chunk_size is None else chunk_size
    if chunk_bytes is not None:
        nbytes = parse_size(chunk_bytes, "chunk_bytes")
    else:
        nbytes = DEFAULT_CHUNK_BYTES if chunk_size is None else UNLIMITED
    if not has_tokens:
        return Limits(nbytes=nbytes, rows=count)
    if nbytes < MIN_TOKEN_CHUNK_BYTES:
        raise UsageError(f"chunk_bytes is {chunk_bytes!r}, expected 4 kB or more for tokens")
    return Limits(nbytes=nbytes, tokens=count)
