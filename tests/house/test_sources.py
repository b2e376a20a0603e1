"""What no source file may contain, and how large it may be."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "millstream"
MODULES = sorted(PACKAGE.rglob("*.py"))
MODULE_LINES = 350
STATEMENT_LINES = 40

FORBIDDEN = {
    "sleep": re.compile(r"\bsleep\("),
    "an unfinished thought": re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"),
    "named shared memory": re.compile(r"\bshared_memory\b"),
    "an environment variable": re.compile(
        r"\bos\.(environ|getenv|putenv)|from os import .*environ"
    ),
}
ALLOWED = {
    ("torch/topology.py", "an environment variable"),
    ("store/environment.py", "an environment variable"),
}

# Put together here, so that this file does not contain them.
REGISTRIES = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("anaconda", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
        ("proxy", "golang", "org"),
    ]
]


def found_in(path: str, source: str) -> list[str]:
    """What a module holds that it must not. path: from src/millstream on."""
    lines = source.splitlines()
    found = [
        f"{path}:{number} has {what}"
        for what, pattern in FORBIDDEN.items()
        if (path, what) not in ALLOWED
        for number, line in enumerate(lines, 1)
        if pattern.search(line)
    ]
    if len(lines) >= MODULE_LINES:
        found.append(f"{path} has {len(lines)} lines, the limit is {MODULE_LINES}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = statement_lines(node)
            if length > STATEMENT_LINES:
                found.append(f"{path}:{node.lineno} {node.name} has {length} lines of statements")
    return found


def statement_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Without signature and docstring: a public call with many arguments explains them all."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_is_small_and_clean(module: Path) -> None:
    path = module.relative_to(PACKAGE).as_posix()
    assert not found_in(path, module.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.sleep(1)",
        "x = 1  # TODO: more",
        "from multiprocessing import shared_memory",
        "import os\nos.environ['A'] = 'b'",
        "from os import environ",
        "x = 1\n" * MODULE_LINES,
        "def f():\n" + "    x = 1\n" * (STATEMENT_LINES + 1),
    ],
)
def test_what_is_forbidden_is_found(source: str) -> None:
    assert len(found_in("plan/order.py", source)) == 1


@pytest.mark.parametrize("path", ["torch/topology.py", "store/environment.py"])
def test_the_environment_may_be_read_in_two_places(path: str) -> None:
    assert found_in(path, "import os\nos.environ.get('RANK')") == []


def tracked_files() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_tracked_file_names_a_package_registry() -> None:
    files = tracked_files()
    assert ROOT / "pyproject.toml" in files
    found = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in files
        for host in REGISTRIES
        if host.encode() in path.read_bytes()
    ]
    assert not found


def test_the_package_declares_its_types() -> None:
    assert (PACKAGE / "py.typed").is_file()
