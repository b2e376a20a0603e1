"""What can be done to a request on its way, and to which: rules, and their deterministic choice."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import unquote


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Which requests it is done to; the classes below say what.

    method, path (a pattern found anywhere in the target, query included), has_range: those that
    match. Of these the first `skip` pass, then each is hit with the probability, at most `times`
    times; with per_key, skip and times count for every key (path without query) by itself.
    """

    method: str | None = None
    path: str = ""
    has_range: bool | None = None
    per_key: bool = False
    probability: float = 1.0
    times: int | None = None
    skip: int = 0

    def matches(self, method: str, target: str, span: str | None) -> bool:
        return (
            self.method in (None, method)
            and self.has_range in (None, span is not None)
            and re.search(self.path, target) is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Fault):
    """An answer that the server behind never gave, nor heard of the request."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Fault):
    """The connection is reset: after so many bytes of the answer's body, or (None) at once.

    At once means that the server behind does not hear of the request.
    """

    after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseAnswer(Fault):
    """The server does what is asked, and the connection is reset instead of its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate(Fault):
    """The connection is closed after so many bytes of the body; its Content-Length said more."""

    after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip(Fault):
    """The byte at that place of the body has all its bits turned; -1: the last one."""

    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall(Fault):
    """No byte comes for so long (None: until FaultProxy.release), then the answer goes on.

    after: so many bytes of the body; None: before the server behind hears of the request.
    """

    after: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow(Fault):
    """The answer's head comes so many seconds late, its body at most at bytes a second."""

    delay: float = 0.0
    rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreRange(Fault):
    """The server behind sees no Range header. Not for S3, which signs it: that gives 403."""


KINDS = {
    kind.__name__: kind
    for kind in (Status, Reset, LoseAnswer, Truncate, Flip, Stall, Slow, IgnoreRange)
}


def refusal(code: int, name: str, *, headers: Mapping[str, str] | None = None, **of: Any) -> Status:
    """A refusal as S3, Google and Azure word it. of: which requests, as for Fault."""
    body = f"<Error><Code>{name}</Code><Message>made by the fault proxy</Message></Error>"
    told = {"Content-Type": "application/xml", "x-ms-error-code": name, **(headers or {})}
    return Status(code=code, headers=told, body=body, **of)


def slow_down(**of: Any) -> Status:
    """503 SlowDown."""
    return refusal(503, "SlowDown", **of)


def too_many_requests(*, retry_after: int, **of: Any) -> Status:
    """429 with Retry-After in seconds."""
    headers = {"Retry-After": str(retry_after)}
    return refusal(429, "TooManyRequests", headers=headers, **of)


def clock_skew(**of: Any) -> Status:
    """The 403 that S3 gives to a clock that is wrong by more than 15 minutes."""
    return refusal(403, "RequestTimeTooSkewed", **of)


def expired_token(**of: Any) -> Status:
    """The 400 that S3 gives to temporary credentials that have run out."""
    return refusal(400, "ExpiredToken", **of)


def to_json(fault: Fault) -> dict[str, Any]:
    return {"fault": type(fault).__name__, **asdict(fault)}


def from_json(told: Mapping[str, Any]) -> Fault:
    arguments = dict(told)
    return KINDS[arguments.pop("fault")](**arguments)


class Chooser:
    """Which fault, if any, is done to a request: the first whose turn it is.

    Chance depends on the seed and on what is asked for the how-manieth time, not on the order in
    which different requests arrive: concurrent runs are hit alike.
    """

    def __init__(self, seed: int, faults: Sequence[Fault] = ()) -> None:
        self._seed, self._faults = seed, faults
        self._matched: Counter[tuple[int, str]] = Counter()
        self._done: Counter[tuple[int, str]] = Counter()
        self._asked: Counter[str] = Counter()

    def choose(self, method: str, target: str, span: str | None) -> Fault | None:
        """target: path and query; span: the Range header."""
        identity = f"{self._seed} {method} {target} {span}"
        nth = self._asked[identity]
        self._asked[identity] += 1
        for number, fault in enumerate(self._faults):
            if not fault.matches(method, target, span):
                continue
            key = unquote(target.partition("?")[0]) if fault.per_key else ""
            place = (number, key)
            self._matched[place] += 1
            if self._matched[place] <= fault.skip:
                continue
            if fault.times is not None and self._done[place] >= fault.times:
                continue
            if random.Random(f"{identity} {nth} {number}").random() < fault.probability:
                self._done[place] += 1
                return fault
        return None
