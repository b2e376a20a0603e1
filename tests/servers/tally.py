"""What a server has been asked for: counts, and a log, for tests to assert on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Self
from urllib.parse import unquote

from servers.process import HOST, Child


@dataclass(slots=True, kw_only=True)
class Request:
    """One request. key: the decoded path without its query; range: the header, as it came.

    status: 0 when no head of an answer was sent. bytes_out: of the answer's body, as sent.
    fault: what was done to it, "" for nothing.
    """

    method: str
    key: str
    query: str = ""
    range: str | None = None
    status: int = 0
    bytes_out: int = 0
    fault: str = ""

    @classmethod
    def of(cls, method: str, target: str, range: str | None) -> Self:
        path, _, query = target.partition("?")
        return cls(method=method, key=unquote(path), query=query, range=range)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What came in since the start or the last reset; log: in the order of arrival."""

    log: Sequence[Request] = ()
    max_in_flight: int = 0
    by_status: Mapping[int, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_status", Counter(request.status for request in self.log))

    @property
    def requests(self) -> int:
        return len(self.log)

    @property
    def range_requests(self) -> int:
        return sum(request.range is not None for request in self.log)

    @property
    def bytes_out(self) -> int:
        return sum(request.bytes_out for request in self.log)

    @property
    def faults(self) -> Mapping[str, int]:
        """How often each fault was done."""
        return Counter(request.fault for request in self.log if request.fault)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        log = [Request(**request) for request in told["log"]]
        return cls(log=log, max_in_flight=told["max_in_flight"])


class Counting(Child):
    """A server of ours, on a port of its own choice, that keeps a tally. path: of its URL."""

    def __init__(self, module: str, *arguments: object, path: str = "") -> None:
        super().__init__(module, *arguments)
        self.port: int = self.ask("port")
        self.url = f"http://{HOST}:{self.port}{path}"

    def tally(self) -> Tally:
        return Tally.from_json(self.ask("tally"))

    def reset(self) -> None:
        """Starts the tally anew."""
        self.ask("reset")


class Recorder:
    """Keeps the tally on the server's side, for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_flight = self._max_in_flight = 0
        self._log: list[Request] = []

    @contextmanager
    def record(self, request: Request) -> Iterator[Request]:
        """Counts the request as in flight; what is set on it inside the block is told later."""
        with self._lock:
            self._log.append(request)
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)
        try:
            yield request
        finally:
            with self._lock:
                self._in_flight -= 1

    def reset(self) -> None:
        with self._lock:
            self._log = []
            self._max_in_flight = self._in_flight

    def as_json(self) -> dict[str, object]:
        with self._lock:
            log = [asdict(request) for request in self._log]
            return {"log": log, "max_in_flight": self._max_in_flight}
