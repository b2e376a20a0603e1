"""A plain HTTP file server, read only: ranges, ETags, keep-alive, no listing; it counts."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from servers.answering import Answer, Asked, Span, run
from servers.tally import Counting

RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class HTTPServer(Counting):
    """Serves the files below a folder. token: what `Authorization: Bearer` must then say."""

    def __init__(self, root: Path, *, token: str = "") -> None:
        super().__init__("http", root.resolve(), token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files below a folder as answers."""

    root: Path
    token: str

    def reply(self, asked: Asked) -> Answer:
        if self.token and asked.headers.get("Authorization") != f"Bearer {self.token}":
            return Answer(status=401, headers={"WWW-Authenticate": "Bearer"})
        if asked.method not in ("GET", "HEAD"):
            return Answer(status=405, headers={"Allow": "GET, HEAD"})
        path = below(self.root, asked.path)
        return Answer(status=404) if path is None else file_answer(path, asked.headers)


def below(root: Path, name: str) -> Path | None:
    """The file of that name, if there is one and it lies below the root."""
    path = (root / name.lstrip("/")).resolve()
    return path if path.is_file() and path.is_relative_to(root) else None


def file_answer(path: Path, asked: Message, etag: str | None = None) -> Answer:
    """200, 206, 304 or 416, as the request's headers ask."""
    state = path.stat()
    etag = etag or f'"{state.st_size:x}-{state.st_mtime_ns:x}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    if asked.get("If-None-Match") == etag:
        return Answer(status=304, headers=headers)
    part = asked_part(asked.get("Range", ""), state.st_size)
    if part is None:
        whole = Span(path=path, start=0, stop=state.st_size)
        return Answer(file=whole, headers=headers)
    start, stop = part
    if start >= stop:
        return Answer(status=416, headers={"Content-Range": f"bytes */{state.st_size}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{state.st_size}"
    return Answer(status=206, file=Span(path=path, start=start, stop=stop), headers=headers)


def asked_part(header: str, size: int) -> tuple[int, int] | None:
    """(start, stop) of a Range header in so many bytes; nothing in it: 416.

    None if there is no range or, as RFC 9110 has it, one that makes no sense: the whole then.
    """
    match = RANGE.fullmatch(header)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


if __name__ == "__main__":
    run(Files(root=Path(sys.argv[1]), token=sys.argv[2]).reply)
