"""What makes the batches of an epoch: this process, or worker processes that are kept or not."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from millstream.errors import UsageError
from millstream.execution.crew import Crew
from millstream.execution.ordered import Ordered
from millstream.execution.threads import Threads
from millstream.plan import Plan
from millstream.reading.run import Run
from millstream.reading.stats import NOTHING, LoaderStats, ReadStats, now
from millstream.reading.steps import Failed, Made, Maker, Steps, WorkerStart, make_here
from millstream.reading.streamed import feed_of
from millstream.torch.marking import marked
from millstream.torch.pace import MOST_STEPS, Pace
from millstream.torch.pinning import Pinned
from millstream.torch.timing import Clock, Handed, Trace

SUPERSEDED = (
    "this iterator ended when a newer one of the same loader was made; a loader has one epoch "
    "under way at a time"
)
FAILED = (
    "this iterator ended with the error that it raised, before the end of its epoch. To go on "
    "there, loader.load_state_dict(loader.state_dict()) and iterate anew; without that the next "
    "iter() starts the next epoch"
)


class Engine:
    """Makes the batches of a plan, in order, with so many workers, ahead batches each.

    persistent: whether workers outlive an epoch. They end with the engine at the latest. threads:
    whether they are threads, not processes.
    """

    def __init__(
        self,
        maker: Maker,
        *,
        workers: int,
        ahead: int,
        persistent: bool,
        threads: bool,
        timeout: float | None,
        init_fn: Callable[[int], None] | None,
        trace: Trace | None,
    ) -> None:
        self._maker, self._workers, self._ahead = maker, workers, ahead
        self._threads = threads
        self._persistent, self._timeout, self._init_fn = persistent, timeout, init_fn
        self.feed = feed_of(maker.dataset)
        self._read = ReadStats()  # of all batches that were handed out
        self._fetched_before = self.feed.fetched()
        self._read_before = self.feed.stats
        self._kept: _Kept | None = None
        self._awake: Ordered[list[Made | Failed]] | None = None
        self._clock, self.trace = Clock(), trace
        self._pace = Pace(most=MOST_STEPS if maker.is_quick else 1)

    def __getstate__(self) -> dict[str, Any]:
        """A copy has no workers yet."""
        return {**self.__dict__, "_kept": None, "_awake": None}

    def be_rank(self, rank: int) -> None:
        """Makes the batches of this rank; none was made yet."""
        self._maker = replace(self._maker, rank=rank)

    @property
    def stats(self) -> LoaderStats:
        """What the batches so far have cost, and the chunks that were fetched for them."""
        here = NOTHING if self._maker.alone else self.feed.stats - self._read_before
        read = self._read + here + self.feed.fetched() - self._fetched_before
        return self._clock.stats(read)

    def count(self, step: int, made: Made, asked: float, got: float, since: float) -> None:
        """A batch was handed out: asked for, and there, at these times. since: as in `Clock`."""
        self._clock.add(made.stages, asked, got, since, first=step == 0)
        if self.trace is not None:
            self.trace.add(Handed(step, asked, got, made.stages))
        if made.stats is not None:
            self._read += made.stats

    def batches(self, run: Run, plan: Plan) -> Generator[Made, None, None]:
        """The batches of a plan of a run; closing the iterator ends workers that are not kept."""
        steps = range(plan.steps_of(run.rank))
        if not self._workers:
            yield from make_here(self._maker, plan, steps)
            return
        crew = self._crew(run)
        try:
            first = yield from self._until_awake(crew, plan, steps)
            tasks = self._pace.turns(plan.epoch.number, plan.start, steps[first:])
            for turn in crew.results(tasks, timeout=self._timeout):
                self._pace.saw(turn)
                turn.reverse()
                while turn:
                    yield _unless_failed(turn.pop())  # in no variable, which would hold it too long
        finally:
            if not self._persistent:
                crew.close()

    def _until_awake(
        self, crew: Ordered[list[Made | Failed]], plan: Plan, steps: range
    ) -> Generator[Made, None, int]:
        """Makes batches here as long as new workers are not there; returns how many that were.

        It is what a worker would make, if it is made by no function of the user's. Of what is far
        away workers keep parts for themselves: what is read here is read again there.
        """
        is_same = self._maker.is_quick and self._init_fn is None and self.feed.is_near
        if crew is self._awake or not is_same:
            return 0
        are_awake = crew.rouse(Steps(epoch=plan.epoch.number, start=plan.start, first=0, count=0))
        number = 0
        for made in make_here(self._maker, plan, steps):
            yield made
            number += 1
            if are_awake():
                self._awake = crew
                break
        return number

    def _crew(self, run: Run) -> Ordered[list[Made | Failed]]:
        settings = run.order.settings()
        if self._kept is not None:
            if self._kept.crew.usable and self._kept.settings == settings:
                return self._kept.crew
            self._kept.close()
        start = WorkerStart(
            maker=self._maker,
            shape=run.shape,
            shuffle=run.shuffle,
            settings=settings,
            workers=self._workers,
            init_fn=self._init_fn,
        )
        size = {"workers": self._workers, "ahead": self._ahead}
        crew = Threads(start.in_thread, **size) if self._threads else Crew(start, **size)
        if self._persistent:
            self._kept = _Kept(settings, crew, weakref.finalize(self, crew.close))
        return crew


def _unless_failed(step: Made | Failed) -> Made:
    if isinstance(step, Failed):
        raise step.error
    return step


@dataclass(frozen=True, slots=True)
class _Kept:
    """Workers that outlive an epoch: the order they know, and what ends them."""

    settings: Mapping[str, Any]
    crew: Ordered[list[Made | Failed]]
    close: weakref.finalize[[], Engine]


class EpochIterator(Iterator[Any]):
    """The batches of the epoch that a run starts next; each is counted as it is handed out.

    pin: applied to each batch by a thread, if given. mark: the name of a field that says which
    samples of a batch came before, and only fill it; None for no such field.
    """

    def __init__(
        self, run: Run, engine: Engine, pin: Callable[[Any], Any] | None, mark: str | None
    ) -> None:
        self._run, self._engine, self._pin, self._mark = run, engine, pin, mark
        self._step = 0  # the next one
        self._finished = False
        self._broken: str | None = None  # why it gives no batch any more, though some are left
        self._begin()

    def _begin(self) -> None:
        run, engine = self._run, self._engine
        self._plan = run.start()
        self._ahead = engine.feed.ahead(
            run.order,
            self._plan.epoch.number,
            self._plan.start,
            rank=run.rank,
            ranks=self._plan.ranks,
        )
        made = engine.batches(run, self._plan)
        self._made = made if self._pin is None else Pinned(made, self._pin)
        self.steps = self._plan.steps_of(run.rank)
        self._since = now()

    def __next__(self) -> Any:
        if self._broken is not None:
            raise UsageError(self._broken)
        if self._step == 0 and self._run.is_misled:
            self._made.close()
            self._begin()
        asked = now()
        try:
            made = next(self._made)
        except StopIteration:
            if not self._finished:
                self._run.end(self._plan)
                if self._engine.trace is not None:
                    self._engine.trace.write()
            self._finished = True
            raise
        except BaseException:
            # The generator is spent. Its StopIteration would look like the end of the epoch.
            self._broken = FAILED
            raise
        got = now()
        self._engine.count(self._step, made, asked, got, self._since)
        self._since = got
        self._run.deliver(self._plan, self._step, made.taken)
        self._step += 1
        self._ahead.passed(self._plan.after(self._step))
        if self._mark is None:
            return made.batch
        return marked(made.batch, self._mark, len(made.taken), self._run.padded)

    def supersede(self) -> None:
        """A newer iterator takes over: ends this one's work at once."""
        self._broken = SUPERSEDED
        self._made.close()
