"""The fault proxy in front of each object store, and HTTP/1.1 as uploads use it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import obstore
import pytest
from obstore.exceptions import BaseError, PermissionDeniedError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from servers.faultproxy import FaultProxy
from servers.faults import Flip, LoseAnswer, Reset, Truncate, clock_skew, slow_down
from servers.process import HOST
from servers.seaweedfs import SeaweedFS

CONTENT = bytes(range(251)) * 30_000  # 7 MB: two parts
HTTP = {"allow_http": True}


@pytest.fixture(params=["seaweedfs", "gcs", "azurite"])
def proxied(
    request: pytest.FixtureRequest, prefix: str
) -> Iterator[tuple[ObjectStore, FaultProxy]]:
    """A client of each server that goes through a proxy."""
    server = request.getfixturevalue(request.param)
    kind = {"seaweedfs": S3Store, "gcs": GCSStore, "azurite": AzureStore}[request.param]
    with FaultProxy(server.endpoint) as proxy:
        options = server.options(endpoint=proxy.url)
        yield kind("millstream", prefix=prefix, client_options=HTTP, **options), proxy


def test_signed_requests_pass_both_ways(proxied: tuple[ObjectStore, FaultProxy]) -> None:
    store, proxy = proxied
    obstore.put(store, "large é", CONTENT, chunk_size=5 << 20)
    obstore.put(store, "empty", b"")
    assert obstore.get(store, "large é").bytes() == CONTENT
    assert obstore.get_range(store, "large é", start=7, end=6_000_000) == CONTENT[7:6_000_000]
    assert obstore.head(store, "empty")["size"] == 0
    assert sorted(o["path"] for o in obstore.list(store).collect()) == ["empty", "large é"]
    obstore.delete(store, "empty")
    seen = proxy.tally()
    assert seen.bytes_out >= 2 * len(CONTENT) - 7 - (len(CONTENT) - 6_000_000)
    assert seen.range_requests == 1
    assert not seen.faults


def test_what_a_store_cannot_ride_out_is_seen(proxied: tuple[ObjectStore, FaultProxy]) -> None:
    store, proxy = proxied
    obstore.put(store, "a", CONTENT)
    proxy.do(Flip(at=1000, method="GET", times=1), clock_skew(method="GET"))
    assert obstore.get(store, "a").bytes() != CONTENT  # nothing on the way notices
    with pytest.raises(PermissionDeniedError):
        obstore.get(store, "a")
    proxy.do(LoseAnswer(method="PUT", times=1))
    with pytest.raises(BaseError):
        obstore.put(store, "new", b"made", mode="create")
    assert obstore.get(store, "new").bytes() == b"made"  # it was made all the same


def test_what_passes_is_ridden_out(seaweedfs: SeaweedFS, prefix: str) -> None:
    with FaultProxy(seaweedfs.endpoint) as proxy:
        options = seaweedfs.options(endpoint=proxy.url)
        store = S3Store("millstream", prefix=prefix, client_options=HTTP, **options)
        obstore.put(store, "a", CONTENT)
        proxy.do(
            slow_down(times=1),
            Reset(times=1),
            Truncate(after=1_000_000, times=1),
            Reset(after=2_000_000, times=1),
        )
        proxy.reset()
        assert obstore.get(store, "a").bytes() == CONTENT
        seen = proxy.tally()
        assert seen.faults == {"Status": 1, "Reset": 2, "Truncate": 1}
        assert [request.status for request in seen.log[:2]] == [503, 0]


class Echo(BaseHTTPRequestHandler):
    """Sends back what was sent, in chunks, and asks for it with 100 Continue."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = bytearray()
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body += self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def talk() -> Iterator[Callable[..., bytes]]:
    """Sends some bytes through a proxy to the echo, and then others once it has answered."""
    server = HTTPServer((HOST, 0), Echo)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    with FaultProxy(f"http://{HOST}:{server.server_port}") as proxy:

        def send(first: bytes, then: bytes = b"", fault: object = None) -> bytes:
            proxy.do(*([fault] if fault else []))
            with socket.create_connection((HOST, proxy.port)) as sock:
                sock.sendall(first)
                told = sock.recv(1 << 16) if then else b""
                sock.sendall(then)
                while piece := sock.recv(1 << 16):
                    told += piece
                return told

        yield send
    server.shutdown()
    thread.join()
    server.server_close()


def chunked(content: bytes, size: int) -> bytes:
    pieces = [content[n : n + size] for n in range(0, len(content), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def payload(told: bytes) -> bytes:
    """The content of a chunked answer."""
    rest, found = told.partition(b"\r\n\r\n")[2], b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        found, rest = found + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return found


START = b"PUT /k HTTP/1.1\r\nHost: any\r\nConnection: close\r\n"


def test_chunks_pass_both_ways(talk: Callable[..., bytes]) -> None:
    content = CONTENT[:300_000]
    request = START + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(content, 7_777)
    told = talk(request)
    assert told.startswith(b"HTTP/1.1 200")
    assert payload(told) == content
    hurt = payload(talk(request, fault=Flip(at=150_000)))
    assert [n for n in range(len(content)) if hurt[n] != content[n]] == [150_000]


def test_a_client_that_waits_for_continue(talk: Callable[..., bytes]) -> None:
    start = START + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    told = talk(start, b"hello")
    assert told.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    assert payload(told.partition(b"\r\n\r\n")[2]) == b"hello"
    # Refused, it is told so without sending its body, and that the connection ends.
    told = talk(start, fault=slow_down())
    assert told.startswith(b"HTTP/1.1 503")
    assert b"Connection: close" in told
