"""Arguments that optimize and map share: what they make of the inputs and of fn."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
from blake3 import blake3

from millstream.errors import UsageError
from millstream.execution.inline import Inline
from millstream.execution.machine import Machine
from millstream.execution.processes import Processes
from millstream.execution.protocol import Executor
from millstream.execution.ray import RayExecutor
from millstream.format.codecs import BlobCodec, as_serializers
from millstream.writing.fetch import Group
from millstream.writing.function import function_bytes

# So many inputs are tried by fast_dev_run=True.
DEV_INPUTS = 10

WITHOUT_EFFECT = {
    "reorder_files": "tasks go to whichever worker is free, so long inputs leave none idle",
    "num_downloaders": "each worker fetches a few inputs ahead of fn",
    "num_uploaders": "workers upload side by side, a large object in parts",
    "start_method": "workers are started by exec, and need no main guard",
    "optimize_dns": "names are resolved as the system does it",
    "use_checkpoint": "a job that was stopped always goes on when the same call is made again",
}


@runtime_checkable
class Numbering(Protocol):
    """Has inputs by number: a dataset its samples, a loader its batches."""

    def __inputs__(self) -> tuple[Sequence[int], Callable[[Any], Any]]:
        """The numbers, and what makes of one (or of a list of them) the input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """fn, and what it is called with. weights: one an input, or None. serializers: the user's own
    codecs."""

    fn: Callable[..., Any]
    inputs: Sequence[Any]
    weights: Sequence[float] | None
    serializers: tuple[BlobCodec, ...] = ()

    def settings(self) -> dict[str, Any]:
        """Of the job: what the borders of its tasks depend on, beside the number of inputs, and
        the codecs that its values have beside ours."""
        found: dict[str, Any] = {}
        if self.weights is not None:
            found["weights"] = blake3(np.array(self.weights).tobytes()).hexdigest(8)
        if self.serializers:
            found["serializers"] = {codec.kind: _code_digest(codec) for codec in self.serializers}
        return found


def prepare(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    weights: Sequence[float] | None,
    batch_size: int | None,
    fast_dev_run: bool | int,
    input_dir: str | os.PathLike[str] | None,
    reader: Callable[[Any], Any] | None,
    serializers: Any = None,
) -> Prepared:
    """Checks them, and does to the inputs and to fn what they say; raises UsageError."""
    if not callable(fn):
        raise UsageError(f"fn is a {type(fn).__name__}, expected a function of one input")
    if reader is not None and not callable(reader):
        raise UsageError(f"reader is a {type(reader).__name__}, expected a function of one input")
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        raise UsageError(f"batch_size is {batch_size!r}, expected a number of inputs from 1")
    if type(fast_dev_run) not in (bool, int) or fast_dev_run < 0:
        raise UsageError(f"fast_dev_run is {fast_dev_run!r}, expected True or a number of inputs")
    if isinstance(inputs, Numbering):
        inputs, read = inputs.__inputs__()
        reader = read if reader is None else partial(_read_first, reader, read)
    found = as_sequence(inputs)
    if weights is not None:
        weights = _checked_weights(weights, len(found))
        weights = weights if any(weights) else None  # which say nothing
    if fast_dev_run:
        count = DEV_INPUTS if fast_dev_run is True else fast_dev_run
        found, weights = found[:count], None if weights is None else weights[:count]
    if input_dir is not None:
        top = os.fspath(input_dir)
        found = [_below(top, value) for value in found]
    if batch_size is not None:
        starts = range(0, len(found), batch_size)
        groups = [Group(found[start : start + batch_size]) for start in starts]
        if weights is not None:
            weights = [math.fsum(weights[start : start + batch_size]) for start in starts]
        found = groups
    return Prepared(
        fn=fn if reader is None else partial(_read_first, fn, reader),
        inputs=found,
        weights=weights,
        serializers=as_serializers(serializers),
    )


def _code_digest(codec: BlobCodec) -> str:
    return blake3(function_bytes(type(codec))).hexdigest(8)


def check_work(num_workers: object, on_error: object) -> None:
    """Raises UsageError unless this says who works, and what happens when fn raises."""
    if num_workers is not None and (type(num_workers) is not int or num_workers < 0):
        raise UsageError(f"num_workers is {num_workers!r}, expected a number from 0, or None")
    if on_error not in ("raise", "skip"):
        raise UsageError(f'on_error is {on_error!r}, expected "raise" or "skip"')


def check_knobs(arguments: Mapping[str, object]) -> None:
    """Says of each argument of a call that does nothing why it is so.

    arguments: those of `optimize` or `map`, by their names.
    """
    for name, why in WITHOUT_EFFECT.items():
        if arguments[name] is not None:
            warnings.warn(f"{name} has no effect here: {why}", stacklevel=3)


def executor_of(
    num_workers: int | None,
    num_nodes: int | None,
    machine: Machine | None,
    executor: Executor | None,
) -> Executor:
    """Who does the tasks: processes, without any this one, or the workers of a cluster.

    Raises UsageError for arguments that make no sense together.
    """
    _check_machines(num_nodes, machine, executor)
    if executor is None and num_nodes in (None, 1):
        workers = os.cpu_count() or 1 if num_workers is None else num_workers
        return Processes(workers) if workers else Inline()
    if executor is not None and not isinstance(executor, RayExecutor):
        return executor
    if num_workers == 0:
        raise UsageError("num_workers is 0, this process alone, and not for a job on a cluster")
    given = executor or RayExecutor()
    asked: dict[str, Any] = {"num_nodes": num_nodes, "num_workers": num_workers, "machine": machine}
    asked = {name: value for name, value in asked.items() if value is not None}
    for name, value in asked.items():
        if getattr(given, name) not in (None, value):
            raise UsageError(
                f"{name} is {value!r}, and {getattr(given, name)!r} in the executor; give it once"
            )
    return replace(given, **asked)


def _check_machines(num_nodes: object, machine: object, executor: object) -> None:
    if num_nodes is not None and (type(num_nodes) is not int or num_nodes < 1):
        raise UsageError(f"num_nodes is {num_nodes!r}, expected a number of machines from 1")
    if machine is not None and not isinstance(machine, Machine):
        raise UsageError(
            f"machine is {machine!r:.60}, expected a millstream.Machine, such as "
            "Machine.DATA_PREP or Machine(cpus=8)"
        )
    if executor is not None and not isinstance(executor, Executor):
        raise UsageError(
            f"executor is {executor!r:.60}, expected a millstream.RayExecutor, or None for this "
            "machine"
        )
    if machine is not None and executor is None and num_nodes in (None, 1):
        warnings.warn(
            "machine has no effect here: the job runs on this machine, in num_workers processes; "
            "num_nodes=2, or an executor, has it run on a Ray cluster",
            stacklevel=4,
        )


def as_sequence(inputs: Any) -> Sequence[Any]:
    """The inputs, if they have a length and indices and are not none at all."""
    if isinstance(inputs, str | bytes | Mapping) or not (
        hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__")
    ):
        raise UsageError(
            f"inputs is a {type(inputs).__name__}, expected a sequence such as a list; "
            "for an iterable pass list(inputs)"
        )
    if not len(inputs):
        raise UsageError("inputs is empty: there is nothing to write")
    if isinstance(inputs, list | tuple | range):
        return inputs
    return [inputs[index] for index in range(len(inputs))]


def _checked_weights(weights: Sequence[Any], inputs: int) -> list[float]:
    try:
        given = [float(weight) for weight in weights]
    except (TypeError, ValueError):
        raise UsageError(f"weights is {weights!r:.80}, expected a number for each input") from None
    if len(given) != inputs:
        raise UsageError(f"there are {len(given):,} weights for {inputs:,} inputs")
    for number, weight in enumerate(given):
        if not 0 <= weight < math.inf:
            raise UsageError(f"weights[{number}] is {weight!r}, expected a number from 0")
    return given


def _below(top: str, value: Any) -> Any:
    """A relative path or key, below a folder or a URL; whatever else is as it is."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    is_relative = isinstance(value, str) and "://" not in value and not value.startswith("/")
    if not is_relative or value.startswith(f"{top.rstrip('/')}/"):
        return value
    return f"{top.rstrip('/')}/{value}"


def _read_first(
    fn: Callable[..., Any], reader: Callable[[Any], Any], value: Any, *others: Any
) -> Any:
    return fn(reader(value), *others)
