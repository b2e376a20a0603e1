"""An HTTP/1.1 proxy that hurts what passes through it, by rule (faults.py), and counts.

Stands in front of any of the servers; the Host header, and so a signature, passes unchanged. Only
bodies of answers with a 2xx status are damaged. Bodies pass chunked or with a length, as they
came, without trailers.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from servers import wire
from servers.control import serve
from servers.exchange import Cut, Exchange, Upstream
from servers.faults import Chooser, Fault, from_json, to_json
from servers.process import HOST
from servers.tally import Counting, Recorder, Request


class FaultProxy(Counting):
    """A proxy in front of the server at a URL; url: its own, with the same path.

    seed: of the faults' chances.
    """

    def __init__(self, upstream: str, *, seed: int = 0) -> None:
        parts = urlsplit(upstream)
        super().__init__("faultproxy", parts.hostname, parts.port, seed, path=parts.path)

    def do(self, *faults: Fault) -> None:
        """Does these from now on, in place of those before; the first that applies wins."""
        self.ask("do", faults=[to_json(fault) for fault in faults])

    def release(self) -> None:
        """Lets all that is stalled or slow go on."""
        self.ask("release")

    def down(self, seconds: float | None = None) -> None:
        """Resets all connections and refuses new ones, for so long or until up()."""
        self.ask("down", seconds=seconds)

    def up(self) -> None:
        """Listens again, at the same address."""
        self.ask("up")


class _Proxy:
    def __init__(self, host: str, port: int, seed: int) -> None:
        self._host, self._port, self._seed = host, port, seed
        self.recorder = Recorder()
        self._chooser = Chooser(seed)
        self._released = asyncio.Event()
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
        self._server: asyncio.Server | None = None
        self._rising: asyncio.Task[None] | None = None
        self.port = 0

    def do(self, faults: Sequence[Mapping[str, Any]]) -> None:
        self._chooser = Chooser(self._seed, [from_json(fault) for fault in faults])

    def release(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    async def up(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._client, HOST, self.port, limit=wire.BUFFER, backlog=1024
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def down(self, seconds: float | None) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer, task in self._clients.items():
            if not writer.is_closing():
                wire.reset(writer)
            if task is not None:
                task.cancel()
        if self._rising is not None:
            self._rising.cancel()
        if seconds is not None:
            self._rising = asyncio.get_running_loop().create_task(self._up_after(seconds))

    async def _up_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.up()

    async def _pause(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._released.wait(), seconds)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)  # drain: all is in the kernel's hands
        upstream = Upstream(self._host, self._port)
        self._clients[writer] = asyncio.current_task()
        try:
            while (head := await wire.read_head(reader)) is not None:
                request = Request.of(head.method, head.target, head.get("range"))
                with self.recorder.record(request):
                    exchange = Exchange(head, reader, writer, request, self._pause)
                    fault = self._chooser.choose(head.method, head.target, request.range)
                    goes_on = await exchange.run(upstream, fault)
                if not goes_on:
                    break
        except (Cut, OSError, asyncio.IncompleteReadError):
            pass  # one of the two sides is gone
        finally:
            del self._clients[writer]
            upstream.close()
            writer.close()


def main(host: str, port: str, seed: str) -> None:
    loop = asyncio.new_event_loop()
    proxy = _Proxy(host, int(port), int(seed))
    loop.run_until_complete(proxy.up())
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def inside(call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, made by the loop's thread."""

        async def made(arguments: Mapping[str, Any]) -> Any:
            result = call(**arguments)
            return await result if asyncio.iscoroutine(result) else result

        return lambda **given: asyncio.run_coroutine_threadsafe(made(given), loop).result()

    serve(
        {
            "port": lambda: proxy.port,
            "tally": inside(proxy.recorder.as_json),
            "reset": inside(proxy.recorder.reset),
            "do": inside(proxy.do),
            "release": inside(proxy.release),
            "down": inside(proxy.down),
            "up": inside(proxy.up),
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
