"""Web servers and the hub: places that can only be read."""

from __future__ import annotations

import pickle
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.faultproxy import FaultProxy
from servers.faults import IgnoreRange, Status, Truncate, slow_down, too_many_requests
from servers.fixtures import HUB_TOKEN
from servers.http import HTTPServer
from servers.hub import Hub
from stores import open_quick

from millstream.errors import AccessDenied, CorruptData, StorageError, UnsupportedError
from millstream.store import open_store
from millstream.testing import ODD_KEYS

CONTENT = secrets.token_bytes(100_000)


@pytest.fixture(scope="module", autouse=True)
def files(http_root: Path, hub_root: Path) -> None:
    for root in (http_root / "a folder", hub_root / "org" / "name" / "a folder"):
        for name in [*ODD_KEYS, "sub/one", "sub/deep/two"]:
            path = root / "odd" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
        (root / "large").write_bytes(CONTENT)
        (root / "empty").touch()
    many = hub_root / "org" / "many"
    many.mkdir()
    for number in range(1_234):
        (many / f"{number:04}").touch()


@pytest.fixture
def hub_proxy(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(hub.url) as proxy:
        monkeypatch.setenv("HF_ENDPOINT", proxy.url)
        monkeypatch.setenv("HF_TOKEN", HUB_TOKEN)
        yield proxy


def places(http_server: HTTPServer, hub: Hub) -> list[tuple[str, dict[str, object]]]:
    return [
        (f"{http_server.url}/a folder", {}),
        ("hf://datasets/org/name/a folder", {"endpoint": hub.url, "token": HUB_TOKEN}),
    ]


def test_objects_are_read(http_server: HTTPServer, hub: Hub) -> None:
    for url, options in places(http_server, hub):
        store = open_store(url, options)
        assert store.get("large") == CONTENT
        assert bytes(store.get("large", (5, 99_999))) == CONTENT[5:99_999]
        assert (store.size("large"), store.size("empty")) == (100_000, 0)
        assert store.get("empty") == b""
        assert bytes(store.get("large", (7, 7))) == b""
        for name in ODD_KEYS:
            # obstore does not follow a redirect from an address with brackets in it.
            if "[" not in name or url.startswith("http"):
                assert store.get(f"odd/{name}") == name.encode()
        for missing in ("no", "odd", "odd/no"):
            with pytest.raises(FileNotFoundError):
                store.get(missing)
            with pytest.raises(FileNotFoundError):
                store.size(missing)
        for span in [(0, 100_001), (100_000, 100_001)]:
            with pytest.raises(CorruptData):
                store.get("large", span)


def test_nothing_is_written(http_server: HTTPServer, hub: Hub) -> None:
    for url, options in places(http_server, hub):
        store = open_store(url, options)
        for write in (store.put, store.put_if_absent, store.copy, store.put_file):
            with pytest.raises(UnsupportedError, match="only be read"):
                write("a", b"b")  # type: ignore[operator]
        with pytest.raises(UnsupportedError, match="only be read"):
            store.delete("large")
        with pytest.raises(UnsupportedError, match="only be read"):
            store.check_conditional_put()
        assert store.size("large") == 100_000


def test_a_web_server_cannot_list(http_server: HTTPServer) -> None:
    store = open_store(f"{http_server.url}/a folder")
    for listing in (store.list, store.folder):
        with pytest.raises(UnsupportedError, match="cannot list"):
            listing("")


def test_a_server_without_ranges_is_told_of(http_server: HTTPServer) -> None:
    with FaultProxy(http_server.url) as proxy:
        proxy.do(IgnoreRange())
        with pytest.raises(StorageError, match="ignores ranges"):
            open_store(f"{proxy.url}/a folder").get("large", (5, 10))
        assert proxy.tally().requests == 1


def test_a_token_a_login_and_a_signed_address(http_root: Path) -> None:
    with HTTPServer(http_root, token="a-secret-token") as server:
        url = f"{server.url}/a folder"
        assert open_store(url, {"token": "a-secret-token"}).size("large") == 100_000
        header = {"authorization": "Bearer a-secret-token"}
        assert open_store(url, {"default_headers": header}).size("large") == 100_000
        host = server.url.removeprefix("http://")
        for refused in (url, f"http://user:password@{host}/a folder", f"{url}?sig=signature"):
            store = open_store(refused)
            with pytest.raises(AccessDenied, match="401") as error:
                store.get("large")
            assert str(store) == url
            for shown in (str(error.value), repr(store), str(store)):
                assert not any(word in shown for word in ("password", "signature", "secret"))


def test_an_address_that_was_signed_keeps_its_query(http_server: HTTPServer) -> None:
    store = pickle.loads(pickle.dumps(open_store(f"{http_server.url}/a folder?sig=abc&x=1")))
    http_server.reset()
    assert store.size("large") == 100_000
    (request,) = http_server.tally().log
    assert (request.key, request.query) == ("/a folder/large", "sig=abc&x=1")


def test_the_hub_lists(hub: Hub) -> None:
    options = {"endpoint": hub.url, "token": HUB_TOKEN}
    store = open_store("hf://datasets/org/name/a folder", options)
    everything = sorted([f"odd/{n}" for n in [*ODD_KEYS, "sub/one", "sub/deep/two"]])
    assert [info.key for info in store.list("odd/")] == everything
    assert [info.key for info in store.list("")] == ["empty", "large", *everything]
    assert {info.key: info.size for info in store.list("")}["large"] == 100_000
    found = store.folder("odd/sub/")
    assert (list(found.folders), [o.key for o in found.objects]) == (["deep"], ["odd/sub/one"])
    whole = open_store("hf://datasets/org/name@main", options)
    assert list(whole.folder("").folders) == ["a folder"]
    assert whole.size("a folder/large") == 100_000


def test_a_hub_that_is_listed_in_pages(hub_proxy: FaultProxy) -> None:
    store = open_store("hf://datasets/org/many")
    assert [info.key for info in store.list("")] == [f"{n:04}" for n in range(1_234)]
    assert hub_proxy.tally().requests == 2


def test_the_hub_through_faults(hub_proxy: FaultProxy) -> None:
    quick = open_quick("hf://datasets/org/name/a folder", {})
    hub_proxy.do(too_many_requests(retry_after=17, times=1), Truncate(after=9, times=1))
    assert len(list(quick.store.list(""))) == len(ODD_KEYS) + 4
    assert quick.waits[0] == 17  # what Retry-After says
    assert hub_proxy.tally().requests == 3
    hub_proxy.reset()
    hub_proxy.do(slow_down(times=1))
    assert bytes(quick.store.get("large", (0, 9))) == CONTENT[:9]


@pytest.mark.parametrize(
    ("url", "token", "kind", "says"),
    [
        ("hf://datasets/org/name", "hf_wrong-token", AccessDenied, "GatedRepo.*HF_TOKEN"),
        ("hf://datasets/org/none", HUB_TOKEN, FileNotFoundError, "RepoNotFound.*org/none@main"),
        ("hf://datasets/org/name@v9", HUB_TOKEN, FileNotFoundError, "RevisionNotFound.*@v9"),
    ],
)
def test_what_the_hub_refuses(
    hub: Hub, url: str, token: str, kind: type[Exception], says: str
) -> None:
    store = open_store(url, {"endpoint": hub.url, "token": token})
    for ask in (lambda: list(store.list("")), lambda: store.get("a"), lambda: store.size("a")):
        hub.reset()
        with pytest.raises(kind, match=says) as error:
            ask()
        assert hub.tally().requests == 1
        assert token not in str(error.value)


def test_the_token_goes_to_no_other_host(hub: Hub, http_root: Path) -> None:
    """A server that redirects a listing elsewhere, where the token would be written down."""
    with HTTPServer(http_root, token="never-sent") as elsewhere, FaultProxy(hub.url) as proxy:
        there = elsewhere.url.replace("127.0.0.1", "localhost") + "/list"
        proxy.do(Status(code=302, headers={"Location": there}, path="/api/"))
        store = open_store("hf://datasets/org/name", {"endpoint": proxy.url, "token": "never-sent"})
        with pytest.raises(AccessDenied):  # with the token it would be a 404
            list(store.list(""))


def test_the_token_that_login_stores(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{HUB_TOKEN}\n")
    monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert open_store("hf://datasets/org/name/a folder").size("large") == 100_000
