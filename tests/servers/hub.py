"""A hub of dataset repositories: the Hugging Face hub's listing and download endpoints; it counts.

Modelled on what its client asks, not compared with the real one. Below a root, ORG/NAME/... is a
repository with the revision `main` and the commit that its files' names and contents make.

    GET      /api/datasets/ORG/NAME/revision/REV      the commit of a revision
    GET      /api/datasets/ORG/NAME/tree/REV/FOLDER   ?recursive= &limit= &cursor=; pages by Link
    GET HEAD /datasets/ORG/NAME/resolve/REV/PATH      302 to the file, with its size and digest
    GET HEAD /files/...                               the file: signed by its address, no token

X-Error-Code names a refusal: 401 GatedRepo, 404 RepoNotFound, RevisionNotFound or EntryNotFound.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote, urlencode

from servers.answering import Answer, Asked, run
from servers.http import below, file_answer
from servers.tally import Counting

API = re.compile(r"/api/datasets/(?P<name>[^/]+/[^/]+)/(?P<what>tree|revision)/(?P<rest>.+)")
RESOLVE = re.compile(r"/datasets/(?P<name>[^/]+/[^/]+)/resolve/(?P<rest>.+)")
FILES = "/files/"
PAGE = 1000


class Hub(Counting):
    """Serves the repositories below a folder to whoever has the token ("": to all)."""

    def __init__(self, root: Path, *, token: str = "") -> None:
        super().__init__("hub", root.resolve(), token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    folder: Path

    def files(self) -> list[str]:
        """Paths below the folder, sorted."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def digest(self, file: str) -> str:
        path = self.folder / file
        return _digest(path, path.stat().st_mtime_ns)

    @property
    def commit(self) -> str:
        told = json.dumps([(file, self.digest(file)) for file in self.files()])
        return hashlib.sha1(told.encode()).hexdigest()

    def tree(self, folder: str, *, recursive: bool) -> list[dict[str, object]]:
        """What is in a folder ("": the whole), by path: folders too, also when recursive."""
        start = f"{folder}/" if folder else ""
        inside = [file for file in self.files() if file.startswith(start)]
        folders = {
            file[:end]
            for file in inside
            for end in _slashes(file, len(start))[: None if recursive else 1]
        }
        files = [file for file in inside if recursive or "/" not in file[len(start) :]]
        entries = [_folder_entry(path) for path in folders] + [self._entry(file) for file in files]
        return sorted(entries, key=lambda entry: str(entry["path"]))

    def _entry(self, file: str) -> dict[str, object]:
        size, digest = (self.folder / file).stat().st_size, self.digest(file)
        large = {"oid": digest, "size": size, "pointerSize": 130}
        return {"type": "file", "oid": digest[:40], "size": size, "path": file, "lfs": large}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repositories:
    """The repositories below a folder as answers."""

    root: Path
    token: str

    def reply(self, asked: Asked) -> Answer:
        path = asked.target.partition("?")[0]  # still quoted: a folder may be one segment, a%2Fb
        if path.startswith(FILES):
            return self._file(asked)
        if self.token and asked.headers.get("Authorization") != f"Bearer {self.token}":
            return _refusal(401, "GatedRepo")
        if asked.method not in ("GET", "HEAD"):
            return Answer(status=405, headers={"Allow": "GET, HEAD"})
        match = API.fullmatch(path) or RESOLVE.fullmatch(path)
        return _refusal(404, "") if match is None else self._found(asked, match)

    def _found(self, asked: Asked, match: re.Match[str]) -> Answer:
        name = unquote(match["name"])
        folder = (self.root / name).resolve()
        if not folder.is_dir() or not folder.is_relative_to(self.root):
            return _refusal(404, "RepoNotFound")
        repository = Repository(folder=folder)
        revision, _, rest = match["rest"].partition("/")
        if revision not in ("main", repository.commit):
            return _refusal(404, "RevisionNotFound")
        rest = unquote(rest).strip("/")
        if match.re is RESOLVE:
            return _redirect(repository, name, rest)
        if match["what"] == "revision":
            return _json({"id": name, "sha": repository.commit})
        return _page(repository, rest, asked)

    def _file(self, asked: Asked) -> Answer:
        path = below(self.root, asked.path.removeprefix(FILES))
        if path is None:
            return _refusal(404, "EntryNotFound")
        etag = f'"{_digest(path, path.stat().st_mtime_ns)}"'
        return file_answer(path, asked.headers, etag)


def _page(repository: Repository, folder: str, asked: Asked) -> Answer:
    """A page of a listing; the address of the next one is in Link."""
    query = asked.query
    entries = repository.tree(folder, recursive=query.get("recursive", "").lower() == "true")
    if folder and not entries:
        return _refusal(404, "EntryNotFound")
    start, limit = int(query.get("cursor", 0)), int(query.get("limit", PAGE))
    following = start + limit
    if following >= len(entries):
        return _json(entries[start:])
    path = asked.target.partition("?")[0]
    address = f"http://{asked.headers['Host']}{path}?{urlencode({**query, 'cursor': following})}"
    return _json(entries[start:following], Link=f'<{address}>; rel="next"')


def _redirect(repository: Repository, name: str, file: str) -> Answer:
    path = below(repository.folder, file)
    if path is None:
        return _refusal(404, "EntryNotFound")
    etag = f'"{repository.digest(file)}"'
    headers = {
        "Location": f"{FILES}{quote(f'{name}/{file}')}",
        "X-Repo-Commit": repository.commit,
        "X-Linked-Size": str(path.stat().st_size),
        "X-Linked-ETag": etag,
        "ETag": etag,
    }
    return Answer(status=302, headers=headers)


def _json(value: object, **headers: str) -> Answer:
    body = json.dumps(value).encode()
    return Answer(body=body, headers={"Content-Type": "application/json", **headers})


def _refusal(status: int, code: str) -> Answer:
    headers = {"X-Error-Code": code, "X-Error-Message": code} if code else {}
    return Answer(status=status, body=json.dumps({"error": code}).encode(), headers=headers)


def _folder_entry(path: str) -> dict[str, object]:
    return {
        "type": "directory",
        "oid": hashlib.sha1(path.encode()).hexdigest(),
        "size": 0,
        "path": path,
    }


def _slashes(text: str, start: int) -> Sequence[int]:
    """Where they are, from there on."""
    return [n for n in range(start, len(text)) if text[n] == "/"]


@cache
def _digest(path: Path, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    run(Repositories(root=Path(sys.argv[1]), token=sys.argv[2]).reply)
