"""Functions that wait at some inputs until a test lets them go on, and note what they were called
with. Scripts that tests start import them too, so that their calls are the same.

In the folder `control` a pipe `gate-I` is where input I waits, the first time.
"""

from __future__ import annotations

import os
import select
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

# Tasks of three inputs each: one ends with each input that weighs anything.
INPUTS = range(60)
WEIGHTS = [0, 0, 1] * 20
# Of inputs that are the last of their task.
GATES = (20, 32)


def sample(control: str, i: int) -> dict[str, Any]:
    """For optimize."""
    _wait(control, i)
    return {"id": i, "text": f"{i} " * (i * 37 % 90)}


def files_of(control: str, i: int, output_dir: str) -> None:
    """For map."""
    _wait(control, i)
    Path(output_dir, f"{i}.txt").write_text("x" * i)


def _wait(control: str, i: int) -> None:
    with Path(control, "calls").open("a") as calls:
        calls.write(f"{i}\n")
    gate = Path(control, f"gate-{i}")
    if gate.exists():
        try:
            gate.with_name(f"begun-{i}").touch(exist_ok=False)
        except FileExistsError:  # the second time
            return
        gate.read_bytes()  # until the test closes it


def make_gates(control: Path) -> list[Path]:
    """A pipe for each of GATES."""
    gates = [control / f"gate-{i}" for i in GATES]
    for gate in gates:
        os.mkfifo(gate)
    return gates


@contextmanager
def held(gates: Iterable[Path]) -> Iterator[list[Any]]:
    """Waits until a worker is at each gate, and holds it there within the block."""
    with ExitStack() as stack:
        yield [stack.enter_context(gate.open("w")) for gate in gates]


def wait_for_ends(opened: list[Any], ends: int) -> list[int]:
    """Waits until so many workers that are held are gone; which."""
    poll = select.poll()
    numbers = {gate.fileno(): number for number, gate in enumerate(opened)}
    for gate in opened:
        poll.register(gate, 0)
    gone = []
    while len(gone) < ends:
        found = poll.poll(60_000)
        assert found, "no worker has ended in a minute"
        for descriptor, _ in found:
            poll.unregister(descriptor)
            gone.append(numbers[descriptor])
    return sorted(gone)


def again(control: Path) -> list[int]:
    """The inputs that fn was called with more than once; each has been called."""
    calls = Counter(map(int, (control / "calls").read_text().split()))
    assert set(calls) == set(INPUTS)
    assert max(calls.values()) <= 2
    return sorted(i for i, count in calls.items() if count == 2)
