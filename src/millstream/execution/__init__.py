"""Run a function over tasks: in this process, or in worker processes. Knows nothing of data."""

from millstream.execution.crew import Crew
from millstream.execution.inline import Inline
from millstream.execution.machine import Machine
from millstream.execution.ordered import Ordered
from millstream.execution.processes import Processes
from millstream.execution.protocol import Executor, Outcome, Session
from millstream.execution.threads import Threads

__all__ = [
    "Crew",
    "Executor",
    "Inline",
    "Machine",
    "Ordered",
    "Outcome",
    "Processes",
    "Session",
    "Threads",
]
