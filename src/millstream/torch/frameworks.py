"""What training frameworks look for in a loader, so that they leave it as it is.

Accelerate returns what is marked as prepared, and saves and loads the state of loaders that say
that they have one. Lightning and Fabric save it without being told, but count epochs themselves
and tell the number to a loader's sampler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch.utils.data import DataLoader, Sampler

from millstream.reading.run import Run


class EpochCount(Sampler[None]):
    """Stands where a loader has its sampler, and samples nothing: it only hears of epochs."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._ahead = 0

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None

    def set_epoch(self, epoch: int) -> None:
        """The epoch of this number is next, or is under way.

        Lightning counts on when it resumes, and says the number after it has loaded a state and
        begun to iterate; Fabric counts from 0 in every process, and says it before it iterates.
        Where a state was loaded and no epoch has begun since, its epoch is the one that is meant.
        """
        if self._run.is_loaded:
            self._ahead = self._run.epoch - epoch
        self._run.expect(epoch + self._ahead)


def adapt(loader: DataLoader[object], run: Run, given: Mapping[str, object]) -> None:
    """Gives a loader these marks.

    given: arguments that torch's loader does not keep. Lightning's predict makes a loader anew
    from the attributes that have the names of arguments.
    """
    loader.__dict__.update(given)
    # Not by name: torch refuses that after the loader is made.
    loader.__dict__["sampler"] = EpochCount(run)
    loader.__dict__["_is_accelerate_prepared"] = True
    loader.__dict__["use_stateful_dataloader"] = True
