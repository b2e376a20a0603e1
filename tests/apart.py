"""An executor whose workers are taken for those of other machines: they share no disk with the job.

They are processes of this machine all the same, which can be killed at any moment.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

from millstream.execution.inline import Inline
from millstream.execution.processes import Processes
from millstream.execution.protocol import Session


@dataclass(frozen=True)
class Apart:
    """workers: processes; with 0 the caller's own does the tasks."""

    workers: int = 0
    apart: ClassVar[bool] = True

    def open(self, work: Callable[[Any], Any]) -> AbstractContextManager[Session[Any]]:
        return (Processes(self.workers) if self.workers else Inline()).open(work)
