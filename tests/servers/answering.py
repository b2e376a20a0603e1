"""What our HTTP/1.1 servers share: a thread a connection, keep-alive, lengths, a tally."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from servers.control import serve
from servers.process import HOST
from servers.tally import Recorder, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request. target: path and query as they came; names of headers have no case."""

    method: str
    target: str
    headers: Message
    body: bytes

    @property
    def path(self) -> str:
        """Decoded, without the query."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Bytes [start, stop) of a file."""

    path: Path
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The body is these bytes or that part of a file."""

    status: int = 200
    body: bytes = b""
    file: Span | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return len(self.body if self.file is None else self.file)


Reply = Callable[[Asked], Answer]


class _Handler(BaseHTTPRequestHandler):
    """Answers each request with what `reply` returns; a HEAD with all of it but the body."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, *args: object, reply: Reply, recorder: Recorder) -> None:
        self._reply, self._recorder = reply, recorder
        super().__init__(*args)  # type: ignore[arg-type] # socket, address, server: it serves here

    def log_message(self, format: str, *args: object) -> None:
        pass  # the tally knows

    def _any(self) -> None:
        request = Request.of(self.command, self.path, self.headers.get("Range"))
        with self._recorder.record(request):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = self._reply(
                Asked(method=self.command, target=self.path, headers=self.headers, body=body)
            )
            request.status = answer.status
            self._send(answer, request)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):  # whatever the method is: reply refuses what it must
            return self._any
        raise AttributeError(name)

    def _send(self, answer: Answer, request: Request) -> None:
        self.send_response(answer.status)
        headers = {"Content-Length": str(answer.length), **answer.headers}
        if answer.status in (204, 304):
            del headers["Content-Length"]
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        # Before the client has it, and can ask for the tally.
        request.bytes_out = answer.length
        if answer.file is None:
            self.wfile.write(answer.body)
        elif answer.length:  # sendfile takes 0 for all
            self._send_file(answer.file, request)

    def _send_file(self, span: Span, request: Request) -> None:
        with span.path.open("rb") as file:
            try:
                self.connection.sendfile(file, span.start, len(span))
            except OSError:  # the client went away: what was sent by then
                request.bytes_out = file.tell() - span.start
                raise


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing, for a client that went away in the middle of an answer; else a traceback."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type] # as it came


def run(reply: Reply) -> None:
    """Serves on a free port until the starter is gone, who may ask for port, tally and reset."""
    recorder = Recorder()
    server = _Server((HOST, 0), partial(_Handler, reply=reply, recorder=recorder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    serve(
        {
            "port": lambda: server.server_port,
            "tally": recorder.as_json,
            "reset": recorder.reset,
        }
    )
