"""Which fields are read, and what a sample looks like without the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from millstream.errors import UsageError
from millstream.format import Field
from millstream.format.tree import Tree


def select(
    tree: Tree, fields: Sequence[Field], wanted: Sequence[str] | None
) -> tuple[Tree, list[int]]:
    """The tree without unwanted leaves, and the numbers of the fields that are left."""
    if wanted is None:
        return tree, list(range(len(fields)))
    names = [field.name for field in fields]

    def is_under(name: str, asked: str) -> bool:
        return name == asked or name.startswith(f"{asked}.")

    for asked in wanted:
        if not any(is_under(name, asked) for name in names):
            raise UsageError(f"there is no field {asked!r}; the fields are {names}")
    keep = [any(is_under(name, asked) for asked in wanted) for name in names]
    pruned = _pruned(tree, iter(keep))
    return pruned or tree, [number for number, kept in enumerate(keep) if kept]


def _pruned(tree: Tree, keep: Iterator[bool]) -> Tree | None:
    if tree.container == "leaf":
        return tree if next(keep) else None
    kept = [
        (key, _pruned(child, keep)) for key, child in zip(tree.keys, tree.children, strict=True)
    ]
    left = [(key, child) for key, child in kept if child is not None]
    if not left:
        return None
    named = tree.container in ("dict", "namedtuple")
    return Tree(
        container=tree.container,
        keys=tuple(key for key, _ in left) if named else tuple(range(len(left))),
        children=tuple(child for _, child in left),
        name=tree.name,
    )
