"""Samples or columns -> the batch that torch's default_collate would make, without torch.

What it makes, tensors and lists of bytes, an `Output` that is passed in makes: in a worker what
becomes them on arrival.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from millstream import interop
from millstream.errors import UsageError
from millstream.format import Field
from millstream.reading.feed import Structure
from millstream.reading.output import Output
from millstream.reading.reader import Array

_NUMBERS = {bool: np.bool_, int: np.int64, float: np.float64}


def collate_columns(source: Structure, columns: Sequence[Any], output: Output) -> Any:
    """A batch in the structure of a sample: tensors (batch, *shape), and lists of str and bytes.

    As default_collate does it, tuples become lists. Images of one size become a tensor (batch,
    channels, height, width), for which default_collate has none. Raises UsageError for values that
    have no batch, such as images or arrays of different shapes.
    """
    leaves = [_field(f, c, output) for f, c in zip(source.fields, columns, strict=True)]
    return _as_collated(source.rebuild(leaves))


def _field(field: Field, column: Any, output: Output) -> Any:
    if isinstance(column, np.ndarray) and (field.kind == "tensor" or column.dtype.kind in "biufc"):
        return output.tensor(_native(column), field.dtype if field.kind == "tensor" else "")
    if not isinstance(column, np.ndarray | list):
        return column  # bytes, as the output makes them
    if isinstance(column, list) and column:
        try:
            return _collate(column, output)
        except (TypeError, RuntimeError, ValueError, OSError) as error:
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


def collate_samples(samples: Sequence[Any], output: Output) -> Any:
    """A batch of samples; raises UsageError for values that have none.

    Strings inside a list or tuple become a list, of which default_collate makes a tuple. None
    for all samples stays None, and arrays of foreign byte order are turned; there it raises.
    """
    try:
        return _collate(samples, output)
    except (TypeError, RuntimeError, ValueError, KeyError, OverflowError, OSError) as error:
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


def _collate(values: Sequence[Any], output: Output) -> Any:
    first = values[0]
    kind = type(first)
    if kind is dict:
        return {key: _collate([value[key] for value in values], output) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return kind(*[_collate(column, output) for column in zip(*values, strict=True)])
    if kind is list or kind is tuple:
        return [_collate(column, output) for column in zip(*values, strict=True)]
    if kind is bytes and all(type(value) is bytes for value in values):
        return output.blobs(values)
    if kind is str or kind is bytes:
        return list(values)
    if all(value is None for value in values):
        return None
    array = _pixels(values, output)
    if array is None:
        array = _stacked(values, kind, output)
    return interop.torch().default_collate(values) if array is None else output.tensor(array, "")


def _pixels(values: Sequence[Any], output: Output) -> Array | None:
    """Pillow's images of one size and mode, channels first; None for whatever else."""
    images = sys.modules.get("PIL.Image")
    if images is None or not all(isinstance(value, images.Image) for value in values):
        return None
    if len({(value.size, value.mode) for value in values}) > 1:
        return None
    arrays = [np.asarray(value) for value in values]
    arrays = [array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0) for array in arrays]
    return np.stack(arrays, out=output.empty((len(values), *arrays[0].shape), arrays[0].dtype))


def _stacked(values: Sequence[Any], kind: type, output: Output) -> Array | None:
    """Numbers or arrays of one type as one array; None for what only torch knows how to treat."""
    if any(type(value) is not kind for value in values):
        return None
    if kind in _NUMBERS:
        return np.array(values, _NUMBERS[kind])
    if not issubclass(kind, np.ndarray | np.generic) or values[0].dtype.kind not in "biufc":
        return None
    if len({(value.dtype, value.shape) for value in values}) > 1:
        return None
    out = output.empty((len(values), *values[0].shape), values[0].dtype.newbyteorder("="))
    return np.stack(values, out=out)
