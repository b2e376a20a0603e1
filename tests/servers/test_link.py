"""The link: laws of its bottleneck, and bytes that come whole through it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import pairwise
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.link import PIECE, QUEUE_SECONDS, Bottleneck, Link
from servers.process import HOST

SENDS = st.lists(st.tuples(st.floats(0, 10), st.integers(1, PIECE)), min_size=1, max_size=50)


@given(SENDS, st.floats(0, 1), st.floats(1e3, 1e9))
def test_bytes_arrive_in_order_after_the_delay_and_not_faster_than_the_rate(
    sends: list[tuple[float, int]], delay: float, rate: float
) -> None:
    bottleneck = Bottleneck(delay=delay, rate=rate)
    sends = sorted(sends)
    arrivals = [bottleneck.arrival(sent, size) for sent, size in sends]
    assert arrivals == sorted(arrivals)
    for (sent, size), arrival in zip(sends, arrivals, strict=True):
        assert arrival >= sent + delay + size / rate - 1e-9
    for first, last in pairwise(range(len(sends))):
        assert arrivals[last] - arrivals[first] >= sends[last][1] / rate - 1e-6
    # Never idle while bytes wait: the last is there when all could be, sent from some moment on.
    latest = max(
        sent + sum(size for _, size in sends[n:]) / rate for n, (sent, _) in enumerate(sends)
    )
    assert arrivals[-1] == pytest.approx(latest + delay)
    assert bottleneck.passed == sum(size for _, size in sends)


def test_a_bottleneck_takes_bytes_a_little_ahead() -> None:
    bottleneck = Bottleneck(delay=1, rate=1000)
    assert bottleneck.turn() < 0
    bottleneck.arrival(5, 1000)
    assert bottleneck.turn() == 6 - QUEUE_SECONDS


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as listening:
        yield listening


def both_ends(link: Link, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    near = socket.create_connection((HOST, link.port))
    far, _ = server.accept()
    return near, far


def read_all(sock: socket.socket) -> bytes:
    told = bytearray()
    while piece := sock.recv(1 << 16):
        told += piece
    return bytes(told)


def open_link(server: socket.socket) -> Link:
    return Link(f"http://{HOST}:{server.getsockname()[1]}/path", rtt=0.002, rate=1e9)


def test_bytes_come_whole_both_ways_and_each_way_ends_by_itself(server: socket.socket) -> None:
    up, down = bytes(range(251)) * 10_000, bytes(range(253)) * 20_000
    with open_link(server) as link:
        assert link.url == f"http://{HOST}:{link.port}/path"
        near, far = both_ends(link, server)
        with near, far:
            sender = Thread(target=lambda: (near.sendall(up), near.shutdown(socket.SHUT_WR)))
            sender.start()
            assert read_all(far) == up
            sender.join()
            sender = Thread(target=lambda: (far.sendall(down), far.shutdown(socket.SHUT_WR)))
            sender.start()
            assert read_all(near) == down  # the other way had ended before
            sender.join()
        assert link.bytes_passed() == {"up": len(up), "down": len(down)}


def test_connections_pass_side_by_side(server: socket.socket) -> None:
    with open_link(server) as link:
        pairs = [both_ends(link, server) for _ in range(16)]
        for number, (near, _) in enumerate(pairs):
            near.sendall(b"%d" % number)
            near.shutdown(socket.SHUT_WR)
        for number, (near, far) in reversed([*enumerate(pairs)]):
            with near, far:
                assert read_all(far) == b"%d" % number


def test_a_reset_and_a_refusal_pass_too(server: socket.socket) -> None:
    with open_link(server) as link:
        near, far = both_ends(link, server)
        with near:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            far.close()
            with pytest.raises(ConnectionResetError):
                while near.recv(1):
                    pass
        server.close()
        near = socket.create_connection((HOST, link.port))
        with near, pytest.raises(ConnectionResetError):
            near.recv(1)
