"""Each fault really happens, is counted, and nothing else is changed on the way."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, IncompleteRead

import pytest

from servers.faultproxy import FaultProxy
from servers.faults import (
    Fault,
    Flip,
    IgnoreRange,
    LoseAnswer,
    Reset,
    Slow,
    Stall,
    Truncate,
    clock_skew,
    slow_down,
    too_many_requests,
)
from servers.http import HTTPServer
from servers.process import HOST

CONTENT = bytes(range(256)) * 4096  # a MiB
SOON = 0.3  # seconds that a test waits for a byte that must not come


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HTTPServer]:
    root = tmp_path_factory.mktemp("files")
    for name in ("a", "b"):
        (root / name).write_bytes(CONTENT)
    with HTTPServer(root) as server:
        yield server


@pytest.fixture(scope="module")
def shared_proxy(files: HTTPServer) -> Iterator[FaultProxy]:
    with FaultProxy(files.url) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: FaultProxy, files: HTTPServer) -> FaultProxy:
    shared_proxy.do()
    shared_proxy.reset()
    files.reset()
    return shared_proxy


class Client:
    """One connection to a proxy."""

    def __init__(self, proxy: FaultProxy, timeout: float = 60) -> None:
        self.connection = HTTPConnection(HOST, proxy.port, timeout=timeout)

    def get(self, key: str = "/a", method: str = "GET", **headers: str) -> tuple[int, bytes]:
        try:
            self.connection.request(method, key, headers=headers)
            response = self.connection.getresponse()
            return response.status, response.read()
        except OSError:
            self.connection.close()
            raise


def get(proxy: FaultProxy, key: str = "/a", **headers: str) -> tuple[int, bytes]:
    client = Client(proxy)
    try:
        return client.get(key, **headers)
    finally:
        client.connection.close()


def test_without_faults_everything_passes_on_one_connection(
    proxy: FaultProxy, files: HTTPServer
) -> None:
    client = Client(proxy)
    assert client.get() == (200, CONTENT)
    assert client.get(Range="bytes=100-999") == (206, CONTENT[100:1000])
    assert client.get(method="HEAD") == (200, b"")
    assert client.get("/none") == (404, b"")
    assert client.get("/b", Range="bytes=-5") == (206, CONTENT[-5:])
    client.connection.close()
    seen = proxy.tally()
    assert (seen.requests, seen.range_requests, seen.max_in_flight) == (5, 2, 1)
    assert seen.bytes_out == len(CONTENT) + 900 + 5
    assert seen.by_status == {200: 2, 206: 2, 404: 1}
    assert [(r.method, r.key, r.range) for r in seen.log[1:4]] == [
        ("GET", "/a", "bytes=100-999"),
        ("HEAD", "/a", None),
        ("GET", "/none", None),
    ]
    assert seen.log == files.tally().log
    assert not seen.faults


def test_a_burst_of_refusals_by_key(proxy: FaultProxy, files: HTTPServer) -> None:
    proxy.do(slow_down(times=2, per_key=True), too_many_requests(retry_after=7, path="/a", times=1))
    client = Client(proxy)
    for key, statuses in (("/a", [503, 503, 429, 200]), ("/b", [503, 503, 200])):
        assert [client.get(key)[0] for _ in statuses] == statuses
    client.connection.request("GET", "/a")
    assert client.connection.getresponse().read() == CONTENT
    client.connection.close()
    assert files.tally().requests == 3
    assert proxy.tally().faults == {"Status": 5}


def test_a_refusal_says_what_the_real_one_says(proxy: FaultProxy) -> None:
    proxy.do(too_many_requests(retry_after=7, times=1), clock_skew())
    connection = HTTPConnection(HOST, proxy.port)
    connection.request("GET", "/a")
    response = connection.getresponse()
    assert (response.status, response.getheader("Retry-After")) == (429, "7")
    response.read()
    connection.request("GET", "/a")
    assert b"<Code>RequestTimeTooSkewed</Code>" in connection.getresponse().read()
    connection.close()


def test_a_reset_at_once_is_unknown_to_the_server(proxy: FaultProxy, files: HTTPServer) -> None:
    proxy.do(Reset(times=1))
    with pytest.raises(ConnectionResetError):
        get(proxy)
    assert files.tally().requests == 0
    assert get(proxy) == (200, CONTENT)
    assert proxy.tally().by_status == {0: 1, 200: 1}


def test_a_lost_answer_was_given(proxy: FaultProxy, files: HTTPServer) -> None:
    proxy.do(LoseAnswer(times=1))
    with pytest.raises(ConnectionResetError):
        get(proxy)
    assert files.tally().requests == 1
    assert proxy.tally().by_status == {0: 1}


def received(proxy: FaultProxy) -> tuple[bytes, type[OSError] | None]:
    """The body that comes, and how it ends, on a plain socket."""
    with socket.create_connection((HOST, proxy.port)) as sock:
        sock.sendall(b"GET /a HTTP/1.1\r\nHost: any\r\n\r\n")
        told = bytearray()
        try:
            while piece := sock.recv(1 << 20):
                told += piece
        except OSError as error:
            return bytes(told).partition(b"\r\n\r\n")[2], type(error)
        return bytes(told).partition(b"\r\n\r\n")[2], None


@pytest.mark.parametrize("after", [0, 1, 70_000, len(CONTENT) - 1])
def test_a_body_cut_short(proxy: FaultProxy, after: int) -> None:
    proxy.do(Truncate(after=after))
    assert received(proxy) == (CONTENT[:after], None)
    with pytest.raises(IncompleteRead):
        get(proxy)
    proxy.do(Reset(after=after))
    body, error = received(proxy)
    assert error is ConnectionResetError
    assert CONTENT[:after].startswith(body)
    seen = proxy.tally()
    assert seen.faults == {"Truncate": 2, "Reset": 1}
    assert seen.bytes_out == 3 * after


@pytest.mark.parametrize("at", [0, 12_345, 65_536, -1])
def test_a_flipped_byte(proxy: FaultProxy, at: int) -> None:
    proxy.do(Flip(at=at, has_range=False))
    hurt = bytearray(CONTENT)
    hurt[at] ^= 0xFF
    assert get(proxy) == (200, bytes(hurt))
    assert get(proxy, Range="bytes=0-") == (206, CONTENT)


@pytest.mark.parametrize("after", [None, 0, 100_000])
def test_a_stall_ends_when_it_is_released(proxy: FaultProxy, after: int | None) -> None:
    proxy.do(Stall(after=after, times=1))
    with socket.create_connection((HOST, proxy.port)) as sock:
        sock.sendall(b"GET /a HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
        told = bytearray()
        sock.settimeout(SOON)
        with pytest.raises(TimeoutError):
            while True:
                told += sock.recv(1 << 20)
        assert told.partition(b"\r\n\r\n")[2] == CONTENT[: after or 0]
        assert get(proxy, "/b") == (200, CONTENT)  # the others are not held up
        proxy.release()
        sock.settimeout(60)
        while piece := sock.recv(1 << 20):
            told += piece
    assert told.partition(b"\r\n\r\n")[2] == CONTENT
    assert proxy.tally().max_in_flight == 2


def test_a_stall_and_a_slow_answer_end_by_themselves(proxy: FaultProxy) -> None:
    proxy.do(Stall(seconds=0.05, times=1), Slow(delay=0.05, rate=len(CONTENT) * 20, times=1))
    assert [get(proxy)[1] for _ in range(3)] == [CONTENT] * 3
    assert proxy.tally().faults == {"Stall": 1, "Slow": 1}


def test_a_slow_answer_is_held_back(proxy: FaultProxy) -> None:
    for fault in (Slow(delay=3600), Slow(rate=1e-3)):
        proxy.do(fault)
        with pytest.raises(TimeoutError):
            Client(proxy, timeout=SOON).get()
        proxy.release()
    assert proxy.tally().faults == {"Slow": 2}


def test_a_server_that_knows_no_ranges(proxy: FaultProxy, files: HTTPServer) -> None:
    proxy.do(IgnoreRange())
    assert get(proxy, Range="bytes=5-9") == (200, CONTENT)
    assert proxy.tally().range_requests == 1
    assert files.tally().range_requests == 0


def test_down_refuses_and_resets_until_it_is_up(proxy: FaultProxy) -> None:
    idle = Client(proxy)
    assert idle.get() == (200, CONTENT)
    proxy.do(Stall(after=0, times=1))
    with socket.create_connection((HOST, proxy.port)) as busy:
        busy.sendall(b"GET /a HTTP/1.1\r\nHost: any\r\n\r\n")
        assert busy.recv(1 << 16).startswith(b"HTTP/1.1 200")
        proxy.down()
        with pytest.raises(ConnectionResetError):
            busy.recv(1)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        idle.get()
    with pytest.raises(ConnectionRefusedError):
        get(proxy)
    proxy.up()
    assert get(proxy) == (200, CONTENT)
    proxy.down(seconds=0.05)
    for _ in range(100_000):  # bounded: it comes up by itself
        try:
            assert get(proxy) == (200, CONTENT)
            break
        except ConnectionError:
            continue
    else:
        pytest.fail("it did not come up again")


def test_many_at_once_are_all_answered_and_counted(proxy: FaultProxy) -> None:
    faults: list[Fault] = [slow_down(probability=0.1), Truncate(after=10, probability=0.1)]
    proxy.do(*faults)

    def outcome(number: int) -> str:
        client = Client(proxy)
        try:
            status, body = client.get(f"/a?{number}", Range="bytes=0-99")
        except IncompleteRead:
            return "Truncate"
        finally:
            client.connection.close()
        assert (status, body) == (206, CONTENT[:100]) or status == 503
        return "" if status == 206 else "Status"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(outcome, range(400)))
        assert list(pool.map(outcome, range(400))) != outcomes
    seen = proxy.tally()
    told = {request.query: request.fault for request in seen.log[:400]}
    assert [told[str(number)] for number in range(400)] == outcomes
    assert set(outcomes) == {"", "Status", "Truncate"}
    assert 1 < seen.max_in_flight <= 16
