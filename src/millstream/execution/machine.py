"""Machine: what each machine of a job on several of them has to have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from millstream.errors import UsageError
from millstream.units import parse_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What `optimize` and `map` ask of each of `num_nodes` machines.

    The names below are those of LitData, with the CPUs that their machines have.

    Args:
        cpus: How many.
        gpus: How many.
        memory: Bytes, a number or text such as "64GB"; None for any.

    Raises:
        UsageError: For values that make no sense.
    """

    cpus: int = 1
    gpus: int = 0
    memory: int | str | None = None

    CPU_SMALL: ClassVar[Machine]
    CPU: ClassVar[Machine]
    DATA_PREP: ClassVar[Machine]
    DATA_PREP_MAX: ClassVar[Machine]
    DATA_PREP_ULTRA: ClassVar[Machine]

    def __post_init__(self) -> None:
        for name, value, least in (("cpus", self.cpus, 1), ("gpus", self.gpus, 0)):
            if type(value) is not int or value < least:
                raise UsageError(f"{name} is {value!r}, expected a number from {least}")
        if self.memory is not None:
            object.__setattr__(self, "memory", parse_size(self.memory, "memory"))


Machine.CPU_SMALL = Machine(cpus=2)
Machine.CPU = Machine(cpus=4)
Machine.DATA_PREP = Machine(cpus=32)
Machine.DATA_PREP_MAX = Machine(cpus=64)
Machine.DATA_PREP_ULTRA = Machine(cpus=96)
