"""Samples or columns -> the batch that torch's default_collate would make, without torch.

Where that makes a tensor, a function that is passed in does: in the trainer's own process it
wraps the array; in a worker it makes a `TensorData`, which becomes a tensor on arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from millstream import interop
from millstream.errors import UsageError
from millstream.format import Field
from millstream.reading.feed import Structure
from millstream.reading.reader import Array

# From an array and torch's name of a dtype; "" for the array's own.
MakeTensor = Callable[[Array, str], Any]

_NUMBERS = {bool: np.bool_, int: np.int64, float: np.float64}


@dataclass(frozen=True, slots=True, eq=False)
class TensorData:
    """An array on its way to a process with torch: it is unpickled as a tensor."""

    array: Array
    dtype: str

    def __reduce__(self) -> tuple[Any, ...]:
        return make_tensor, (self.array, self.dtype)


def make_tensor(array: Array, dtype: str) -> Any:
    """A tensor that shares the memory of an array."""
    return interop.torch().tensor(array, dtype)


def collate_columns(
    source: Structure, columns: Sequence[Array | list[Any]], make: MakeTensor
) -> Any:
    """A batch in the structure of a sample: tensors (batch, *shape), and lists of str and bytes.

    As default_collate does it, tuples become lists. Raises UsageError for values that have no
    batch, such as images or arrays of different shapes.
    """
    leaves = [_field(f, c, make) for f, c in zip(source.fields, columns, strict=True)]
    return _as_collated(source.rebuild(leaves))


def _field(field: Field, column: Array | list[Any], make: MakeTensor) -> Any:
    if isinstance(column, np.ndarray) and (field.kind == "tensor" or column.dtype.kind in "biufc"):
        return make(_native(column), field.dtype if field.kind == "tensor" else "")
    if isinstance(column, list) and column:
        try:
            return _collate(column, make)
        except (TypeError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
    else:
        reason = f"torch has no dtype for {column.dtype}" if isinstance(column, np.ndarray) else ""
    raise UsageError(
        f"the field {field.name!r} ({field}) has no default batch: {reason}. Pass a collate_fn, a "
        "transform, or decode={...}, for instance decode={'image': 'torch'} and one size for all"
    )


def _native(column: Array) -> Array:
    return column if column.dtype.isnative else column.astype(column.dtype.newbyteorder("="))


def _as_collated(batch: Any) -> Any:
    if type(batch) is dict:
        return {key: _as_collated(value) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*map(_as_collated, batch))
    if type(batch) is tuple:
        return [_as_collated(value) for value in batch]
    return batch


def collate_samples(samples: Sequence[Any], make: MakeTensor) -> Any:
    """A batch of samples; raises UsageError for values that have none.

    Strings inside a list or tuple become a list, of which default_collate makes a tuple. None
    for all samples stays None, and arrays of foreign byte order are turned; there it raises.
    """
    try:
        return _collate(samples, make)
    except (TypeError, RuntimeError, ValueError, KeyError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"the samples have no default batch: {reason}{_unlike(samples)}. Pass a collate_fn, or "
            "give all samples one structure and arrays of one shape"
        ) from error


def _unlike(samples: Sequence[Any]) -> str:
    """How the fields of two samples differ, for the message; empty if they do not."""
    told = [list(sample) if type(sample) is dict else type(sample).__name__ for sample in samples]
    other = next((number for number, fields in enumerate(told) if fields != told[0]), None)
    if other is None:
        return ""
    return f"; the first sample of the batch is {told[0]}, sample {other} is {told[other]}"


def _collate(values: Sequence[Any], make: MakeTensor) -> Any:
    first = values[0]
    kind = type(first)
    if kind is dict:
        return {key: _collate([value[key] for value in values], make) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return kind(*[_collate(column, make) for column in zip(*values, strict=True)])
    if kind is list or kind is tuple:
        return [_collate(column, make) for column in zip(*values, strict=True)]
    if kind is str or kind is bytes:
        return list(values)
    if all(value is None for value in values):
        return None
    array = _stacked(values, kind)
    return interop.torch().default_collate(values) if array is None else make(array, "")


def _stacked(values: Sequence[Any], kind: type) -> Array | None:
    """Numbers or arrays of one type as one array; None for what only torch knows how to treat."""
    if any(type(value) is not kind for value in values):
        return None
    if kind in _NUMBERS:
        return np.array(values, _NUMBERS[kind])
    if not issubclass(kind, np.ndarray | np.generic) or values[0].dtype.kind not in "biufc":
        return None
    alike = {(value.dtype, value.shape) for value in values}
    return _native(np.stack(values)) if len(alike) == 1 else None
