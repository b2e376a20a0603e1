"""Datasets on the Hugging Face hub: objects by its resolve endpoint, listings by its tree API."""

from __future__ import annotations

import builtins
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPException, HTTPMessage
from typing import IO
from urllib.parse import quote, urlencode, urljoin, urlsplit

import obstore

from millstream.store.clients import hub_of
from millstream.store.cloud import CloudStore
from millstream.store.failures import Kind, RequestFailure, from_client, from_status
from millstream.store.listed import tag_of
from millstream.store.protocol import Folder, ObjectInfo, Span

_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
# Nobody should be made to wait for longer than the rest of the job is worth.
_LONGEST_WAIT = 60.0


class HubStore(CloudStore):
    """A folder of a dataset repository at one revision; it can only be read."""

    def size(self, key: str) -> int:
        """An object's length in bytes.

        By a GET of one byte: the hub redirects to addresses that are signed for GET alone.
        """

        def first_byte() -> int:
            try:
                found = obstore.get(self._client(), key, options={"range": (0, 1)})
                return found.meta["size"]
            except obstore.exceptions.BaseError as error:
                if from_client(error).kind is not Kind.BEYOND:
                    raise
                return 0

        return self._request("find", key, first_byte)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose keys start with a prefix, sorted by key."""
        found = [_info(entry, self._skip) for entry in self._tree(prefix, True) if _is_file(entry)]
        return iter(sorted(found, key=lambda info: info.key))

    def folder(self, prefix: str) -> Folder:
        """What lies directly below a prefix."""
        entries = self._tree(prefix, False)
        files = [_info(entry, self._skip) for entry in entries if _is_file(entry)]
        folders = [entry["path"] for entry in entries if entry["type"] == "directory"]
        return Folder(
            folders=sorted(str(path).rpartition("/")[2] for path in folders),
            objects=sorted(files, key=lambda info: info.key),
        )

    def get_listed(self, listed: ObjectInfo, span: Span | None = None) -> memoryview:
        """As that of CloudStore; the size alone tells, as large files come from elsewhere, with
        ETags of that place."""
        return super().get_listed(replace(listed, tag=""), span)

    @property
    def _skip(self) -> int:
        return len(self._remote.prefix) + 1 if self._remote.prefix else 0

    def _tree(self, prefix: str, recursive: bool) -> builtins.list[dict[str, object]]:
        repository, _, revision = self._remote.bucket.rpartition("@")
        path = "/".join(part for part in (self._remote.prefix, prefix.strip("/")) if part)
        url = (
            f"{hub_of(self._settings).endpoint}/api/datasets/{repository}/tree/"
            f"{quote(revision, safe='')}" + (f"/{quote(path)}" if path else "")
        )
        url += "?" + urlencode({"recursive": str(recursive).lower(), "expand": "false"})
        entries: builtins.list[dict[str, object]] = []
        while url:
            page, url = self._page(prefix, url)
            entries += page
        return entries

    def _page(self, prefix: str, url: str) -> tuple[builtins.list[dict[str, object]], str]:
        """One page's entries, and the address of the next or ""."""
        hub = hub_of(self._settings)
        headers = {"authorization": f"Bearer {hub.token}"} if hub.token else {}

        def ask() -> tuple[builtins.list[dict[str, object]], str]:
            request = urllib.request.Request(url, headers=headers)
            with _OPENER.open(request, timeout=self._settings.stall) as answer:
                found = _NEXT.search(answer.headers.get("link", ""))
                return json.loads(answer.read()), urljoin(url, found[1]) if found else ""

        return self._run("list", prefix, ask, _judge)


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but does not carry the token to another host."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            new.remove_header("Authorization")
        return new


_OPENER = urllib.request.build_opener(_SameHost)


def _is_file(entry: dict[str, object]) -> bool:
    return entry["type"] == "file"


def _info(entry: dict[str, object], skip: int) -> ObjectInfo:
    key, size = str(entry["path"])[skip:], int(str(entry["size"]))
    return ObjectInfo(key=key, size=size, modified=0.0, tag=tag_of(entry.get("oid")))


def _judge(error: Exception) -> RequestFailure | None:
    """What an error of urllib means; None for other errors."""
    if isinstance(error, urllib.error.HTTPError):
        code = error.headers.get("x-error-code", "")
        said = f"HTTP {error.code}" + (f", {code}" if code else "")
        wait = error.headers.get("retry-after", "")
        seconds = min(float(wait), _LONGEST_WAIT) if wait.isdigit() else 0.0
        error.close()
        return RequestFailure(kind=from_status(error.code), said=said, least_wait=seconds)
    if isinstance(error, TimeoutError):
        return RequestFailure(kind=Kind.TIMEOUT)
    if isinstance(error, urllib.error.URLError):
        timeout = isinstance(error.reason, TimeoutError)
        kind = Kind.TIMEOUT if timeout else Kind.CONNECT
        return RequestFailure(kind=kind, said="" if timeout else str(error.reason))
    if isinstance(error, HTTPException | ConnectionError | json.JSONDecodeError):
        return RequestFailure(kind=Kind.CUT)
    return None
