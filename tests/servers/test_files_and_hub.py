"""The plain HTTP server and the hub: ranges, counts, pages, redirects, refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import HTTPStore

from servers.http import HTTPServer, asked_part
from servers.hub import Hub
from servers.process import HOST

CONTENT = bytes(range(256)) * 40
NUMBERS = st.integers(0, 30)


@given(size=NUMBERS, first=NUMBERS, last=NUMBERS)
def test_ranges_mean_what_slices_mean(size: int, first: int, last: int) -> None:
    content = bytes(range(size))

    def part(header: str) -> bytes | None:
        asked = asked_part(header, size)
        return None if asked is None else content[slice(*asked)]

    if first <= last:
        assert part(f"bytes={first}-{last}") == content[first : last + 1]
    else:
        assert part(f"bytes={first}-{last}") is None
    assert part(f"bytes={first}-") == content[first:]
    assert part(f"bytes=-{last}") == (content[-last:] if last else b"")
    for header in ("", "bytes=-", "bytes=0-1,3-4", "lines=0-1"):
        assert part(header) is None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root/org/name"
    (folder / "in/deep").mkdir(parents=True)
    (folder / "a").write_bytes(CONTENT)
    (folder / "empty").touch()
    (folder / "in/é +b").write_bytes(b"odd")
    for number in range(25):
        (folder / f"in/deep/{number:02}").write_bytes(b"%d" % number)
    (tmp_path / "outside").write_bytes(b"secret")
    return tmp_path / "root"


Told = tuple[int, bytes, dict[str, str]]


class Client:
    """One kept-alive connection."""

    def __init__(self, port: int, **headers: str) -> None:
        self._connection = HTTPConnection(HOST, port, timeout=60)
        self._headers = headers

    def __call__(self, target: str, method: str = "GET", **headers: str) -> Told:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, target, headers={**self._headers, **sent})
        response = self._connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def server(root: Path) -> Iterator[HTTPServer]:
    with HTTPServer(root) as server:
        yield server


@pytest.fixture
def ask(server: HTTPServer) -> Iterator[Client]:
    with closing(Client(server.port)) as client:
        yield client


def test_files_whole_and_in_part(server: HTTPServer, ask: Client) -> None:
    status, body, headers = ask("/org/name/a")
    assert (status, body) == (200, CONTENT)
    assert headers["Accept-Ranges"] == "bytes"
    status, body, told = ask("/org/name/a", Range="bytes=100-299")
    assert (status, body) == (206, CONTENT[100:300])
    assert told["Content-Range"] == f"bytes 100-299/{len(CONTENT)}"
    assert told["ETag"] == headers["ETag"]
    status, _, told = ask("/org/name/a", Range=f"bytes={len(CONTENT)}-")
    assert (status, told["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")
    assert ask("/org/name/a", Range="bytes=9-1")[:2] == (200, CONTENT)
    assert ask("/org/name/empty")[:2] == (200, b"")
    assert ask("/org/name/" + quote("in/é +b"))[:2] == (200, b"odd")
    status, body, told = ask("/org/name/a", "HEAD")
    assert (status, body, told["Content-Length"]) == (200, b"", str(len(CONTENT)))
    assert ask("/org/name/a", If_None_Match=headers["ETag"])[:2] == (304, b"")
    seen = server.tally()
    assert (seen.requests, seen.range_requests) == (8, 3)
    assert seen.bytes_out == 2 * len(CONTENT) + 200 + 3
    assert seen.by_status == {200: 5, 206: 1, 416: 1, 304: 1}
    server.reset()
    assert server.tally().requests == 0


def test_files_are_read_only_and_below_the_root(ask: Client) -> None:
    for method in ("PUT", "DELETE", "POST", "PROPFIND"):
        assert ask("/org/name/a", method)[0] == 405
    for outside in ("/../outside", "/org/../../outside", "/%2e%2e/outside", "/org", "/", "/no"):
        assert ask(outside)[0] == 404
    assert ask("/org/name/a")[1] == CONTENT


def test_a_token_is_asked_for(root: Path) -> None:
    with HTTPServer(root, token="open") as server, closing(Client(server.port)) as ask:
        assert ask("/org/name/a")[0] == 401
        assert ask("/org/name/a", Authorization="Bearer wrong")[0] == 401
        assert ask("/org/name/a", Authorization="Bearer open")[0] == 200


@pytest.fixture
def hub(root: Path) -> Iterator[Hub]:
    with Hub(root, token="open") as hub:
        yield hub


@pytest.fixture
def ask_hub(hub: Hub) -> Iterator[Client]:
    with closing(Client(hub.port, Authorization="Bearer open")) as client:
        yield client


TREE = "/api/datasets/org/name/tree/main"


@pytest.mark.parametrize("limit", [1, 7, 30, 1000])
def test_a_listing_comes_in_pages(ask_hub: Client, root: Path, limit: int) -> None:
    folder = root / "org/name"
    target, found = f"{TREE}?recursive=true&limit={limit}", []
    while target:
        status, body, headers = ask_hub(target)
        assert status == 200
        entries = json.loads(body)
        assert 0 < len(entries) <= limit
        found += entries
        following = re.fullmatch(r'<(.+)>; rel="next"', headers.get("Link", ""))
        target = following[1].partition(HOST)[2].partition("/")[2] if following else ""
        target = target and f"/{target}"
    files = {entry["path"]: entry["size"] for entry in found if entry["type"] == "file"}
    assert files == {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
    folders = [entry["path"] for entry in found if entry["type"] == "directory"]
    assert sorted(folders) == ["in", "in/deep"]
    assert len(found) == len(files) + len(folders)


def test_a_listing_of_one_folder(ask_hub: Client) -> None:
    def paths(target: str) -> list[str]:
        return [entry["path"] for entry in json.loads(ask_hub(target)[1])]

    assert paths(TREE) == ["a", "empty", "in"]
    assert paths(f"{TREE}/in?recursive=false") == ["in/deep", "in/é +b"]
    assert len(paths(f"{TREE}/in%2Fdeep")) == 25
    assert len(paths(f"{TREE}/in?recursive=true")) == 27


def test_a_file_is_somewhere_else(hub: Hub, ask_hub: Client) -> None:
    commit = json.loads(ask_hub("/api/datasets/org/name/revision/main")[1])["sha"]
    for revision in ("main", commit):
        status, body, headers = ask_hub(f"/datasets/org/name/resolve/{revision}/a", "HEAD")
        assert (status, body) == (302, b"")
        assert headers["X-Repo-Commit"] == commit
        assert headers["X-Linked-Size"] == str(len(CONTENT))
        assert headers["ETag"] == headers["X-Linked-ETag"]
        with closing(Client(hub.port)) as stranger:  # its address is enough
            assert stranger(headers["Location"])[1] == CONTENT
            status, body, told = stranger(headers["Location"], Range="bytes=-5")
        assert (status, body) == (206, CONTENT[-5:])
        assert told["ETag"] == headers["ETag"]


def test_a_client_follows_to_the_file(hub: Hub) -> None:
    token = {"authorization": "Bearer open"}
    options = {"allow_http": True, "default_headers": token}
    store = HTTPStore(f"{hub.url}/datasets/org/name/resolve/main", client_options=options)
    assert obstore.get_range(store, "a", start=5, end=900) == CONTENT[5:900]
    assert obstore.get(store, "in/é +b").bytes() == b"odd"
    assert [request.status for request in hub.tally().log] == [302, 206, 302, 200]


def test_a_refusal_has_a_code(hub: Hub, ask_hub: Client, root: Path) -> None:
    def refused(target: str) -> tuple[int, str | None]:
        status, _, headers = ask_hub(target)
        return status, headers.get("X-Error-Code")

    assert refused("/api/datasets/org/other/tree/main") == (404, "RepoNotFound")
    assert refused("/api/datasets/org/..%2F../tree/main") == (404, "RepoNotFound")
    assert refused("/api/datasets/org/name/tree/v2") == (404, "RevisionNotFound")
    assert refused(f"{TREE}/nowhere") == (404, "EntryNotFound")
    assert refused("/datasets/org/name/resolve/main/none") == (404, "EntryNotFound")
    assert refused("/datasets/org/name/resolve/main/../../../outside") == (404, "EntryNotFound")
    assert refused("/files/../outside") == (404, "EntryNotFound")
    with closing(Client(hub.port)) as stranger:
        for target in (TREE, "/datasets/org/name/resolve/main/a"):
            assert stranger(target)[2]["X-Error-Code"] == "GatedRepo"
            assert stranger(target, Authorization="Bearer wrong")[0] == 401
    old = json.loads(ask_hub("/api/datasets/org/name/revision/main")[1])["sha"]
    (root / "org/name/a").write_bytes(b"changed")
    new = json.loads(ask_hub("/api/datasets/org/name/revision/main")[1])["sha"]
    assert old != new
    assert refused(f"/datasets/org/name/resolve/{old}/a") == (404, "RevisionNotFound")
