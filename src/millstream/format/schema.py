"""What the rows of a dataset look like: the tree of a sample and a field for each leaf."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace

from millstream.errors import CorruptData, SampleError
from millstream.format.codecs import ArrayCodec, Closed, Codec, Shape
from millstream.format.tree import (
    LEAF,
    MAX_LEAVES,
    Key,
    Tree,
    difference,
    tree_from_json,
    tree_to_json,
)

# The name of the only field of a dataset whose samples are bare values.
BARE = "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One leaf. name: its path, joined by dots; kind: its codec; dtype: "" where there is none.

    shape: the shape that all rows share, for kinds that have one; None where shapes differ or
    where this is not known.
    """

    name: str
    kind: str
    dtype: str = ""
    shape: Shape | None = None

    def __str__(self) -> str:
        dtype = f"[{self.dtype}]" if self.dtype else ""
        return f"{self.kind}{dtype}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A tree and its fields, one a leaf, in the same order."""

    tree: Tree
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        names = field_names(self.tree)
        if names != tuple(field.name for field in self.fields):
            raise CorruptData(f"the fields of a schema do not match its tree: {names[:20]}")
        if len(self.fields) > MAX_LEAVES:
            raise CorruptData(f"a sample has {len(self.fields)} fields, at most {MAX_LEAVES}")

    def to_json(self) -> dict[str, object]:
        """A JSON object; the names are not written, they follow from the tree."""
        return {"tree": tree_to_json(self.tree), "fields": [_to_json(f) for f in self.fields]}

    @staticmethod
    def from_json(value: object) -> Schema:
        """The inverse; raises CorruptData."""
        match value:
            case {"tree": node, "fields": list(fields)}:
                tree = tree_from_json(node)
                names = field_names(tree)
                if len(names) != len(fields):
                    raise CorruptData(f"a schema has {len(names)} leaves and {len(fields)} fields")
                made = tuple(map(_from_json, names, fields))
                return Schema(tree=tree, fields=made)
        raise CorruptData(f"not a schema: {str(value)[:80]!r}")


def _to_json(field: Field) -> dict[str, object]:
    out: dict[str, object] = {"kind": field.kind}
    if field.dtype:
        out["dtype"] = field.dtype
    if field.shape is not None:
        out["shape"] = list(field.shape)
    return out


def _from_json(name: str, value: object) -> Field:
    match value:
        case {"kind": str(kind), **rest}:
            dtype, shape = rest.get("dtype", ""), rest.get("shape")
            if isinstance(dtype, str):
                return Field(
                    name=name,
                    kind=kind,
                    dtype=dtype,
                    shape=None if shape is None else shape_of(shape),
                )
    raise CorruptData(f"not a field of a schema: {str(value)[:80]!r}")


def shape_of(value: object) -> Shape:
    """A shape from JSON: a list of up to 64 lengths; raises CorruptData."""
    lengths = value if isinstance(value, list) and len(value) <= 64 else [None]
    if all(type(length) is int and 0 <= length < 1 << 63 for length in lengths):
        return tuple(lengths)
    raise CorruptData(f"not a shape: {str(value)[:80]!r}")


def field_names(tree: Tree) -> tuple[str, ...]:
    """The names of the leaves: paths joined by dots; "value" for a bare leaf."""
    if tree == LEAF:
        return (BARE,)
    return tuple(path_name(path) for path in tree.leaf_paths())


def path_name(path: Iterable[Key]) -> str:
    """A path as a field name."""
    return ".".join(str(key) for key in path)


def codec_for(value: object, codecs: Sequence[Codec], name: str) -> tuple[Codec, str]:
    """The first codec that takes a value, and the value's dtype; raises SampleError."""
    for codec in codecs:
        dtype = codec.describe(value)
        if dtype is not None:
            return codec, dtype
    kinds = ", ".join(codec.kind for codec in codecs)
    shown = f"{type(value).__module__}.{type(value).__qualname__}"
    dtype = getattr(value, "dtype", None)
    raise SampleError(
        f"the field {name!r} holds a {shown}{f' of dtype {dtype}' if dtype is not None else ''}, "
        f"which cannot be stored. Convert it to one of: {kinds}; wrap plain nested values in "
        "millstream.Json; or pass allow_pickle=True"
    )


def codec_named(kind: str, codecs: Sequence[Codec]) -> Codec:
    """The codec of a kind; raises CorruptData if none of these has it."""
    for codec in codecs:
        if codec.kind == kind:
            return codec
    raise CorruptData(
        f"a field has the kind {kind!r}, which none of the codecs here reads. If it was written "
        "with serializers=, give the same to StreamingDataset"
    )


def bind(
    schema: Schema, codecs: Sequence[Codec], *, closed: Container[str] = ()
) -> tuple[Codec, ...]:
    """The codec of each field, its dtype checked; raises CorruptData.

    closed: names of fields of which the bytes will do, if their kind is not known.
    """
    known = {codec.kind for codec in codecs}
    bound = tuple(
        Closed(field.kind)
        if field.name in closed and field.kind not in known
        else codec_named(field.kind, codecs)
        for field in schema.fields
    )
    for field, codec in zip(schema.fields, bound, strict=True):
        if isinstance(codec, ArrayCodec):
            codec.storage(field.dtype)
    return bound


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaDifference:
    """Where two schemas first differ. name: of the field; got, expected: its types, in words."""

    name: str
    got: str
    expected: str


def schema_difference(expected: Schema, got: Schema) -> SchemaDifference | None:
    """What differs between the types of two samples; None if nothing does. Shapes do not count."""
    if expected is got:
        return None
    if found := difference(expected.tree, got.tree):
        name = path_name(found.path) or "the sample"
        return SchemaDifference(name=name, got=found.got, expected=found.expected)
    for one, other in zip(expected.fields, got.fields, strict=True):
        if (one.kind, one.dtype) != (other.kind, other.dtype):
            return SchemaDifference(name=one.name, got=str(other), expected=str(one))
    return None


def schema_error(expected: Schema, got: Schema) -> SampleError | None:
    """What differs between the types of two samples, named by field; None if nothing does."""
    found = schema_difference(expected, got)
    if found is None:
        return None
    return SampleError(type_difference(found.name, found.got, found.expected))


def common_schema(schemas: Sequence[Schema]) -> Schema:
    """The schema of rows from several datasets that differ in shapes at most."""
    columns = zip(*(schema.fields for schema in schemas), strict=True)
    fields = [
        same[0] if len({field.shape for field in same}) == 1 else replace(same[0], shape=None)
        for same in columns
    ]
    return Schema(tree=schemas[0].tree, fields=tuple(fields))


def type_difference(name: str, got: str, expected: str) -> str:
    """The message for a sample that departs from the ones before it."""
    return (
        f"the field {name!r} is {got}, in the samples before it {expected}; every sample must "
        "have the same structure and types (millstream.Json holds values that vary)"
    )
