"""Columns -> the batch that torch's default_collate would make of the samples, without samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import default_collate

from millstream.errors import UsageError
from millstream.format import Field
from millstream.reading.reader import Array
from millstream.reading.source import Source
from millstream.torch.bridge import tensor


def collate_columns(source: Source, columns: Sequence[Array | list[Any]]) -> Any:
    """A batch in the structure of a sample: tensors (batch, *shape), and lists of str and bytes.

    As default_collate does it, tuples become lists. Raises UsageError for values that have no
    batch, such as images or arrays of different shapes.
    """
    leaves = [collate_field(f, c) for f, c in zip(source.fields, columns, strict=True)]
    return _as_collated(source.rebuild(leaves))


def collate_field(field: Field, column: Array | list[Any]) -> Any:
    """One field of a batch."""
    if isinstance(column, np.ndarray) and (field.kind == "tensor" or column.dtype.kind in "biufc"):
        return tensor(_native(column), field.dtype if field.kind == "tensor" else "")
    if isinstance(column, list) and column:
        try:
            return default_collate(column)
        except (TypeError, RuntimeError) as error:
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
