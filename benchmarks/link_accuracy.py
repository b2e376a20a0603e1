"""How near the shaped link of tests/servers/link.py is to what it was asked for.

Other benchmarks run over it. Beside each figure stands what it should be, and the ratio.
"""

from __future__ import annotations

import socket
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.link import Link
from servers.process import HOST

LINKS = ((0.020, 1e9 / 8), (0.100, 300e6 / 8))
SECONDS = 4
PIECE = 1 << 20


def serve(listening: socket.socket) -> None:
    """Sends as many bytes as each connection asks for: eight bytes, as often as they come."""

    def answer(client: socket.socket) -> None:
        content = memoryview(bytes(PIECE))
        with client:
            while asked := client.recv(8, socket.MSG_WAITALL):
                left = int.from_bytes(asked, "big")
                while left:
                    left -= client.send(content[:left])

    while True:
        client, _ = listening.accept()
        threading.Thread(target=answer, args=(client,), daemon=True).start()


def fetch(client: socket.socket, size: int) -> None:
    buffer = bytearray(PIECE)
    client.sendall(size.to_bytes(8, "big"))
    while size:
        size -= client.recv_into(buffer, min(size, PIECE))


def connect(link: Link) -> socket.socket:
    """A connection that is open on both sides."""
    client = socket.create_connection((HOST, link.port))
    fetch(client, 1)
    return client


def round_trip(link: Link) -> float:
    """Seconds for a byte there and one back: the median of 50."""
    with connect(link) as client:
        seconds = []
        for _ in range(50):
            began = time.perf_counter()
            fetch(client, 1)
            seconds.append(time.perf_counter() - began)
        return statistics.median(seconds)


def throughput(link: Link, connections: int, rtt: float, rate: float) -> float:
    """Bytes a second over all connections, for some seconds, less the first round trip."""
    clients = [connect(link) for _ in range(connections)]
    size = int(rate * SECONDS / connections)
    with ThreadPoolExecutor(connections) as pool:
        began = time.perf_counter()
        list(pool.map(lambda client: fetch(client, size), clients))
        seconds = time.perf_counter() - began - rtt
    for client in clients:
        client.close()
    return size * connections / seconds


def main() -> None:
    """Prints a line a figure."""
    with socket.create_server((HOST, 0), backlog=64) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        for rtt, rate in LINKS:
            url = f"http://{HOST}:{listening.getsockname()[1]}"
            with Link(url, rtt=rtt, rate=rate) as link:
                show("round trip, ms", round_trip(link) * 1e3, rtt * 1e3)
                for connections in (1, 16):
                    measured = throughput(link, connections, rtt, rate)
                    show(f"{connections} connections, Mbit/s", measured * 8e-6, rate * 8e-6)


def show(name: str, measured: float, asked: float) -> None:
    print(f"{name:26} {measured:10.1f}   asked {asked:7.1f}   ratio {measured / asked:.3f}")


if __name__ == "__main__":
    main()
