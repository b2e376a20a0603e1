"""A network between a client and a server: a delay each way, and a rate that all connections share.

A forwarder of TCP in a process of its own, so it needs no privileges. It models: the time bytes
take, the round trip that opening a connection costs, and one bottleneck with a short queue in each
direction, which connections use in turns. It does not model what is below a stream: packets and
their headers, loss, slow start and congestion control; one connection has the whole rate at once.
So a client that cannot fill this link would not fill a real one; the reverse is not shown.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
from urllib.parse import urlsplit

from servers import wire
from servers.control import serve
from servers.process import HOST, Child

PIECE = 1 << 16  # bytes that a connection sends in one turn
QUEUE_SECONDS = 0.005  # how far ahead of its rate the bottleneck takes bytes


class Link(Child):
    """A link to the server at a URL; url: the same server through it.

    rtt: seconds there and back; rate: bytes a second, in each direction.
    """

    def __init__(self, upstream: str, *, rtt: float, rate: float) -> None:
        parts = urlsplit(upstream)
        super().__init__("link", parts.hostname, parts.port, rtt, rate)
        self.port: int = self.ask("port")
        self.url = f"http://{HOST}:{self.port}{parts.path}"

    def bytes_passed(self) -> dict[str, int]:
        """Bytes to the server ("up") and from it ("down") since the start."""
        passed: dict[str, int] = self.ask("bytes_passed")
        return passed


class Bottleneck:
    """When bytes that are sent into one direction of a link arrive."""

    def __init__(self, *, delay: float, rate: float) -> None:
        self._delay, self._rate = delay, rate
        self._free_at = 0.0
        self.passed = 0

    def turn(self) -> float:
        """When it takes bytes again: what it has taken must have passed, but for a short queue."""
        return self._free_at - QUEUE_SECONDS

    def arrival(self, sent: float, size: int) -> float:
        """When the last of so many bytes, sent at that time, is there."""
        self._free_at = max(self._free_at, sent) + size / self._rate
        self.passed += size
        return self._free_at + self._delay


class _Way:
    """One direction of one connection."""

    def __init__(self, bottleneck: Bottleneck, open_at: float, window: int) -> None:
        self._bottleneck, self._open_at = bottleneck, open_at
        # (time, bytes) on their way; b"" is the end of the stream, None a reset.
        self._flying: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(window)

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the end of what is read, or a reset from either side."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take(reader))
            group.create_task(self._deliver(writer))

    async def _take(self, reader: asyncio.StreamReader) -> None:
        piece: bytes | None = b"-"
        while piece:
            try:
                piece = await reader.read(PIECE)
            except OSError:
                piece = None
            await _until(self._open_at)
            await _until(self._bottleneck.turn())
            arrival = self._bottleneck.arrival(_now(), len(piece or b""))
            await self._flying.put((arrival, piece))

    async def _deliver(self, writer: asyncio.StreamWriter) -> None:
        piece: bytes | None = b"-"
        while piece:
            arrival, piece = await self._flying.get()
            await _until(arrival)
            if piece:
                writer.write(piece)
                await writer.drain()
        if piece is None:
            wire.reset(writer)
        else:
            writer.write_eof()


class _Forwarder:
    def __init__(self, host: str, port: int, rtt: float, rate: float) -> None:
        self._address, self._rtt = (host, port), rtt
        self.up = Bottleneck(delay=rtt / 2, rate=rate)
        self.down = Bottleneck(delay=rtt / 2, rate=rate)
        self._window = 16 + int(2 * rate * rtt / PIECE)

    async def start(self) -> int:
        """The port it listens on from now on."""
        server = await asyncio.start_server(self._client, HOST, 0, limit=2 * PIECE, backlog=1024)
        self._server = server  # or it would be collected, and close
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The client believes to be connected at once; its first bytes must wait for it.
        open_at = _now() + self._rtt
        try:
            there, back = await asyncio.open_connection(*self._address, limit=2 * PIECE)
        except OSError:
            wire.reset(writer)
            return
        up = _Way(self.up, open_at, self._window)
        down = _Way(self.down, 0, self._window)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(up.pass_on(reader, back))
                group.create_task(down.pass_on(there, writer))
        except* OSError:
            pass  # one side is gone: so is the other, now
        finally:
            back.close()
            writer.close()


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _until(moment: float) -> None:
    while (rest := moment - _now()) > 0:
        await asyncio.sleep(rest)


def main(host: str, port: str, rtt: str, rate: str) -> None:
    # epoll waits in whole milliseconds, select in microseconds.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    forwarder = _Forwarder(host, int(port), float(rtt), float(rate))
    own_port = loop.run_until_complete(forwarder.start())
    threading.Thread(target=loop.run_forever, daemon=True).start()
    serve(
        {
            "port": lambda: own_port,
            "bytes_passed": lambda: {"up": forwarder.up.passed, "down": forwarder.down.passed},
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
