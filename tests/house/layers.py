"""Which part of millstream may import which: the layers of ARCHITECTURE.md, as a table."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

LAYERS = {
    "encryption": 0,
    "errors": 0,
    "interop": 0,
    "tokens": 0,
    "units": 0,
    "format": 1,
    "plan": 1,
    "store": 1,
    "execution": 1,
    "cache": 2,
    "testing": 2,
    "versions": 2,
    "writing": 3,
    "reading": 3,
    "torch": 4,
    "cli": 4,
    "processing": 4,
    "streaming": 4,
    "utilities": 4,
    "__init__": 4,
}
# Imports that the layers do not give, and the imports of what has no layer.
ALSO = {
    ("interop", "errors"),
    ("encryption", "errors"),
    ("tokens", "errors"),
    ("units", "errors"),
    ("interop", "torch"),  # the one door, by name and at first use
    ("__init__", "torch"),
    ("streaming", "torch"),
    ("cli", "__init__"),
    ("_worker", "execution"),
}
EXTERNAL = {
    "numpy",
    "xxhash",
    "blake3",
    "cloudpickle",
    "tqdm",
    "zstandard",
} | sys.stdlib_module_names
ONLY_IN = {"torch": "torch", "obstore": "store", "ray": "execution"}
ONLY_WHEN_CALLED = {"PIL", "cryptography", "simplejpeg"}


def violations(path: str, source: str) -> list[str]:
    """What a module imports against the rules. path: from src/millstream on, "plan/order.py"."""
    here = path.removesuffix(".py").split("/")
    found = []
    for line, name, at_import_time in _imports(here, ast.parse(source)):
        root, *rest = name.split(".")
        part = rest[0] if rest and rest[0] in {*LAYERS, "_worker"} else "__init__"
        allowed = (
            _may_import(here[0], part)
            if root == "millstream"
            else _may_use(here[0], root, at_import_time)
        )
        if not allowed:
            found.append(f"{path}:{line} imports {name}")
    return found


def _may_import(part: str, other: str) -> bool:
    below = part in LAYERS and other in LAYERS and LAYERS[other] < LAYERS[part]
    return part == other or below or (part, other) in ALSO


def _may_use(part: str, package: str, at_import_time: bool) -> bool:
    if package in ONLY_WHEN_CALLED:
        return not at_import_time
    return package in EXTERNAL or ONLY_IN.get(package) == part


def _imports(here: list[str], tree: ast.AST, at_import_time: bool = True) -> Iterator[tuple]:
    """Line, full name, and whether importing the module runs it; also from inside functions."""
    for node in ast.iter_child_nodes(tree):
        now = at_import_time and not _is_deferred(node)
        for name in _names(here, node):
            yield node.lineno, name, now
        yield from _imports(here, node, now)


def _is_deferred(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test).endswith("TYPE_CHECKING")
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def _names(here: list[str], node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(level=0):
            return [f"{node.module}.{alias.name}" for alias in node.names]
        case ast.ImportFrom():
            base = ["millstream", *here][: -node.level] + ([node.module] if node.module else [])
            return [".".join([*base, alias.name]) for alias in node.names]
        case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called), args=[first, *_]):
            by_name = called in {"import_module", "__import__"} and isinstance(first, ast.Constant)
            return [str(first.value)] if by_name else []
    return []
