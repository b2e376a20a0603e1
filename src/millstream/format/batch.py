"""Many samples as one value: the structure of a sample, with a column of values in each leaf.

Row i is that structure with item i of every column. A column is a list of values, or an array or
tensor, whose items lie along its first axis; so lists are never structure here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millstream import interop
from millstream.errors import SampleError
from millstream.format.codecs.arrays import ARRAYS
from millstream.format.schema import field_names
from millstream.format.tree import Tree, leaves_of, rebuilder, tree_of


class Batch:
    """tree: of a sample. columns: by leaf. rows: the length of each of them."""

    def __init__(self, value: Any) -> None:
        """Raises SampleError if this is not columns of one length."""
        self.tree: Tree = tree_of(value, lists=False)
        self.columns: Sequence[Any] = leaves_of(self.tree)(value)
        self._rebuild = rebuilder(self.tree)
        names = field_names(self.tree)
        lengths = [_length(name, c) for name, c in zip(names, self.columns, strict=True)]
        if not lengths:
            raise SampleError("a batch has no column, so nothing says how many samples it has")
        self.rows = lengths[0]
        for name, length in zip(names, lengths, strict=True):
            if length != self.rows:
                raise SampleError(
                    f"the column {name!r} of a batch has {length} rows, the column {names[0]!r} "
                    f"has {self.rows}; all columns of a batch need the same number"
                )

    def row(self, index: int) -> Any:
        """One sample."""
        return self._rebuild([column[index] for column in self.columns])


def _length(name: str, column: Any) -> int:
    torch = interop.loaded_torch()
    is_array = type(column) in ARRAYS or (
        torch is not None and torch.dtype_name(column) is not None
    )
    if not is_array and type(column) is not list:
        raise SampleError(
            f"the column {name!r} of a batch is a {type(column).__name__}; expected a list of "
            "values, or an array or tensor with a row for each sample"
        )
    if is_array and not column.ndim:
        raise SampleError(
            f"the column {name!r} of a batch is an array without an axis; it needs a row for "
            "each sample"
        )
    return len(column)
