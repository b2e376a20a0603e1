"""Samples -> parts: flatten, check against the first sample, encode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from millstream.errors import SampleError
from millstream.format.batch import Batch
from millstream.format.codecs import ArrayCodec, Codec, Number, Source
from millstream.format.columns import Departs, Elements, Held, Numbers, Payloads, join_rows
from millstream.format.part import Part
from millstream.format.quick import adder
from millstream.format.schema import (
    Field,
    Schema,
    codec_for,
    field_names,
    path_name,
    type_difference,
)
from millstream.format.tree import Mismatch, describe, leaves_of, tree_of


def _never(source: Source) -> bool:
    return False


class Encoder:
    """Takes samples one by one, all of the structure and types of the one it is made for.

    add: takes a sample; what it holds is copied or encoded before that returns, so the caller may
    reuse its buffers. It raises SampleError, and then nothing of the sample is added. may_refer:
    whether the bytes of a file may be left in it until a chunk is built.
    """

    add: Callable[[Any], None]

    def __init__(
        self,
        example: Any,
        codecs: Sequence[Codec],
        may_refer: Callable[[Source], bool] = _never,
    ) -> None:
        """Raises SampleError if the example, which is not added, cannot be stored."""
        self._leaves = leaves_of(tree_of(example))
        leaves = list(self._leaves(example))
        self.schema, self._bound = _schema_of(example, leaves, codecs)
        self._codecs = codecs
        self._held = Held()
        self._columns = [
            _column(codec, field.dtype, self._held, may_refer)
            for field, codec in zip(self.schema.fields, self._bound, strict=True)
        ]
        self._row_bytes = 8 * sum(isinstance(column, Numbers) for column in self._columns)
        self.rows = 0
        # A sample whose leaves have these types and pass these tests needs no further look.
        self._types = list(map(type, leaves))
        self._tests = [codec.alike(leaf) for codec, leaf in zip(self._bound, leaves, strict=True)]
        pushes = [column.push for column in self._columns]
        quick = adder(self.schema.tree, self._types, self._tests, pushes, self)
        self.add = quick or self._add_leaves

    @property
    def nbytes(self) -> int:
        """About how much memory the rows since the last `take` hold."""
        return self._held.nbytes + self.rows * self._row_bytes

    def _add_leaves(self, sample: Any) -> None:
        """Adds a sample of any structure, without a further look if it is just like the example."""
        try:
            taken = self._take_leaves(sample)
        except Exception:
            self.undo()
            taken = False
        if taken:
            self.rows += 1
        else:
            self.slow(sample)

    def _take_leaves(self, sample: Any) -> bool:
        leaves = self._leaves(sample)
        if [*map(type, leaves)] != self._types:
            return False
        for test, leaf in zip(self._tests, leaves, strict=True):
            if test is not None and not test(leaf):
                return False
        for column, leaf in zip(self._columns, leaves, strict=True):
            column.push(leaf)
        return True

    def slow(self, sample: Any) -> None:
        """Adds a sample after asking the codecs whether it fits; says why if it does not."""
        try:
            leaves = self._leaves(sample)
        except Mismatch as error:
            name = path_name(error.path) or "the sample"
            raise SampleError(type_difference(name, error.got, error.expected)) from None
        for field, codec, leaf in zip(self.schema.fields, self._bound, leaves, strict=True):
            if codec.describe(leaf) != field.dtype:
                raise SampleError(type_difference(field.name, self._type(leaf, field), str(field)))
        try:
            for column, leaf in zip(self._columns, leaves, strict=True):
                column.push(leaf)
        except Exception:
            self.undo()
            raise
        self.rows += 1

    def undo(self) -> None:
        """Takes back what was done of a sample that could not be added."""
        for column in self._columns:
            column.undo(self.rows)

    def add_batch(self, batch: Batch) -> None:
        """Adds the rows of a batch, as if one by one; raises SampleError for the first bad one."""
        try:
            if batch.tree != self.schema.tree:
                raise Departs
            prepared = [self._prepare(index, values) for index, values in enumerate(batch.columns)]
        except Exception:  # whatever it is, the rows one by one say it with the words of `add`
            for row in range(batch.rows):
                self.add(batch.row(row))
            return
        for column, some in zip(self._columns, prepared, strict=True):
            column.extend(some)
        self.rows += batch.rows

    def _prepare(self, index: int, values: Any) -> Any:
        if type(values) is list:
            if set(map(type, values)) != {self._types[index]}:
                raise Departs
            test = self._tests[index]
            if test is not None and not all(map(test, values)):
                raise Departs
        return self._columns[index].prepare(values)

    def _type(self, leaf: Any, field: Field) -> str:
        if leaf is None or isinstance(leaf, dict | list | tuple):
            return describe(leaf)
        codec, dtype = codec_for(leaf, self._codecs, field.name)
        return str(Field(name=field.name, kind=codec.kind, dtype=dtype))

    def take(self) -> Part | None:
        """The rows added since the last call; None if there are none."""
        if not self.rows:
            return None
        payloads = [column.take() for column in self._columns if isinstance(column, Payloads)]
        part = Part(
            schema=self.schema,
            rows=self.rows,
            arrays={
                index: column.take()
                for index, column in enumerate(self._columns)
                if not isinstance(column, Payloads)
            },
            blobs=join_rows(payloads) if payloads else None,
        )
        self.rows = self._held.nbytes = 0
        return part


def _schema_of(
    example: Any, leaves: Sequence[Any], codecs: Sequence[Codec]
) -> tuple[Schema, list[Codec]]:
    tree = tree_of(example)
    names = field_names(tree)
    if len(set(names)) != len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise SampleError(f"two fields of a sample are both called {double!r}; rename one")
    found = [codec_for(leaf, codecs, name) for leaf, name in zip(leaves, names, strict=True)]
    fields = tuple(
        Field(name=name, kind=codec.kind, dtype=dtype)
        for name, (codec, dtype) in zip(names, found, strict=True)
    )
    return Schema(tree=tree, fields=fields), [codec for codec, _ in found]


def _column(
    codec: Codec, dtype: str, held: Held, may_refer: Callable[[Source], bool]
) -> Numbers | Elements | Payloads:
    if isinstance(codec, Number):
        return Numbers(codec)
    if isinstance(codec, ArrayCodec):
        return Elements(codec, dtype, held)
    return Payloads(codec, held, may_refer)
