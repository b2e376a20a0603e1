"""The pool of a Ray cluster: each worker is an actor, which one driver has for one session.

Answers are waited for with ray.wait. An actor does its calls in order, so of each the first one
that is out is waited for; it is also how its end is noticed.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from millstream.errors import ClusterUnavailable, UnsupportedError
from millstream.execution.answers import error_of, packed, told
from millstream.execution.pool import Pool
from millstream.execution.protocol import Outcome, failure

R = TypeVar("R")

# How long an end of a session waits for Ray to say that an actor has ended.
END_SECONDS = 10


class Actor:
    """A worker of the pool. begun: the ref of its first call."""

    def __init__(self, ray: Any, handle: Any, begun: Any) -> None:
        self._ray, self._handle = ray, handle
        self._calls: deque[Any] = deque([begun])
        self._probe: Any = None
        self._answer: Any = None
        self.gone: Exception | None = None
        self.node = ""
        self.tags: deque[int] = deque()

    @property
    def next_call(self) -> Any:
        """The ref of the call to wait for; None if there is none."""
        if self._probe is not None:
            return self._probe
        return self._calls[0] if self._calls else None

    def give(self, tag: int, task: bytes) -> None:
        self.tags.append(tag)
        self._calls.append(self._handle.run.remote(task))

    def take(self) -> bool:
        """Takes what the call has brought; whether that is an answer, or the worker's end.

        Ray says at once that it cannot reach an actor, and only later what has become of it: then
        another call is made, whose answer settles that.
        """
        exceptions = self._ray.exceptions
        try:
            self._answer = self._ray.get(self.next_call)
        except exceptions.ActorDiedError as error:
            self.gone = error
        except exceptions.RayTaskError as error:
            if not self.tags:  # it did not begin
                self.gone = error
            self._answer = packed(None, told(failure(error)))
        except exceptions.RayError as error:
            if self._probe is None and not isinstance(error, exceptions.RuntimeEnvSetupError):
                self._probe = self._handle.here.remote()
                return False
            self.gone = error
        else:
            if self._probe is not None:  # it is there, but an answer was lost on the way
                self.gone = ConnectionError("its answer was lost")
        return True

    def begun(self) -> tuple[str, dict[str, str], str]:
        """What the first call has answered."""
        self._calls.popleft()
        node, versions, problem = self._answer
        self.node = node
        return node, versions, problem

    def hear(self) -> Outcome[Any] | None:
        if self.gone is not None:
            return None
        self._calls.popleft()
        value, said = pickle.loads(self._answer)
        return Outcome(tag=self.tags.popleft(), value=value, error=error_of(said))

    def end(self, *, kill: bool) -> None:
        """Ends it at once. A call that fails when it has ended is then what is waited for."""
        self._ray.kill(self._handle, no_restart=True)
        self._probe = self._handle.here.remote()

    def death(self) -> str | None:
        if not isinstance(self.gone, self._ray.exceptions.ActorDiedError):
            return None  # cut off
        nodes = {node["NodeID"]: node for node in self._ray.nodes()}
        if not nodes.get(self.node, {}).get("Alive"):
            return None
        return f"of {nodes[self.node]['NodeManagerAddress']} ended ({self.gone})"


class ActorPool(Pool[R, Actor]):
    """A session of actors, which come up one by one.

    start: has an actor made, for its number. versions: those that all must have. wanted: says in
    an error what was asked, and what there is.
    """

    answers_last = False  # Ray sends an answer while the actor is at the next task already

    def __init__(
        self,
        ray: Any,
        start: Callable[[int], Actor],
        count: int,
        *,
        versions: Mapping[str, str],
        wait_seconds: float,
        wanted: Callable[[], str],
    ) -> None:
        super().__init__()
        self._ray, self._start, self._wanted = ray, start, wanted
        self._versions, self._wait_seconds = versions, wait_seconds
        self._count = self._number = count
        self._failed = 0  # starts, since the last that went well
        self._none_since = time.monotonic()
        self._starting: list[Actor] = []
        try:
            for number in range(count):
                self._starting.append(start(number))
            while not self.workers:
                self._answered()
        except BaseException:
            self.kill()
            raise

    @property
    def _coming(self) -> int:
        return len(self._starting)

    def _answered(self) -> Iterable[Actor]:
        out = {actor.next_call: actor for actor in (*self.workers, *self._starting)}
        out.pop(None, None)
        heard = []
        for call in self._ended_calls(list(out)):
            actor = out[call]
            if not actor.take():
                continue
            if actor in self._starting:
                self._starting.remove(actor)
                self._welcome(actor)
            else:
                heard.append(actor)
        return heard

    def _ended_calls(self, calls: Sequence[Any]) -> list[Any]:
        left = None
        if not self.workers:
            left = max(0.0, self._none_since + self._wait_seconds - time.monotonic())
        ended, _ = self._ray.wait(calls, num_returns=1, timeout=left)
        if not ended:
            raise ClusterUnavailable(
                f"no worker has come up in {self._wait_seconds:g} seconds. {self._wanted()}"
            )
        # All that have ended by now: else the first in the list would always go first.
        ended, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        return list(ended)

    def _welcome(self, actor: Actor) -> None:
        """A start has gone well, or not."""
        if actor.gone is not None:
            self._failed += 1
            setup = isinstance(actor.gone, self._ray.exceptions.RuntimeEnvSetupError)
            if setup or self._failed > 2 * self._count:
                raise ClusterUnavailable(f"workers cannot start on the cluster: {actor.gone}")
            actor.end(kill=True)
            self._start_another()
            return
        node, versions, problem = actor.begun()
        if problem:
            raise UnsupportedError(
                f"a worker on node {node} cannot import millstream ({problem}): install "
                "it on all nodes, or pass runtime_env={'py_modules': [millstream]}"
            )
        if differing := [name for name in versions if versions[name] != self._versions[name]]:
            theirs = ", ".join(f"{name} {versions[name]}" for name in differing)
            ours = ", ".join(f"{name} {self._versions[name]}" for name in differing)
            raise UnsupportedError(
                f"a worker on node {node} has {theirs}, and this process {ours}: they would write "
                "other bytes. Install the same versions on all nodes"
            )
        self._failed = 0
        self.workers.append(actor)

    def _start_another(self) -> None:
        self._starting.append(self._start(self._number))
        self._number += 1

    def _replace(self, worker: Actor) -> None:
        self.workers.remove(worker)
        if not self.workers:
            self._none_since = time.monotonic()
        self._start_another()

    def kill(self) -> None:
        """Ends all actors, also those that have not come up, and waits for that."""
        actors = [*self.workers, *self._starting]
        self.workers.clear()
        self._starting.clear()
        for actor in actors:
            actor.end(kill=True)
        if actors:
            calls = [actor.next_call for actor in actors]
            self._ray.wait(calls, num_returns=len(calls), timeout=END_SECONDS)

    close = kill
