"""The progress bar: inputs, samples, MB/s, what is left."""

from __future__ import annotations

import sys
from types import TracebackType

from tqdm import tqdm


class Bar(tqdm):  # type: ignore[type-arg]
    monitor_interval = 0  # no thread of its own: it would outlive the bar


class ProgressBar:
    """A bar on stderr; None for `show` means only on a terminal. unit: of what it counts;
    made: what that gives."""

    def __init__(
        self, inputs: int, *, show: bool | None, unit: str = "inputs", made: str = "samples"
    ) -> None:
        hidden = not (sys.stderr.isatty() if show is None else show)
        self._bar = Bar(total=inputs, unit=f" {unit}", disable=hidden, dynamic_ncols=True)
        self._samples = self._nbytes = self._earlier = 0
        self._started, self._made = False, made

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def advance(self, inputs: int, samples: int, nbytes: int) -> None:
        """So many more inputs are done. The first call says what earlier runs did."""
        if not self._started:
            self._started, self._earlier = True, nbytes
            self._bar.initial = inputs
        self._samples += samples
        self._nbytes += nbytes
        elapsed = self._bar.format_dict["elapsed"]
        rate = (self._nbytes - self._earlier) / 1e6 / elapsed if elapsed else 0.0
        self._bar.set_postfix_str(f"{self._samples:,} {self._made}, {rate:.1f} MB/s", refresh=False)
        self._bar.update(inputs)
