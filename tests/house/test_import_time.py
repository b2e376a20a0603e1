"""`import millstream` is light: what is heavy arrives with its first use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).parents[2] / "src"
HEAVY = {"torch", "cryptography", "PIL", "simplejpeg", "obstore", "ray", "skimage", "sklearn"}


def modules_after(statements: str) -> set[str]:
    """The top-level modules in a fresh interpreter after some statements."""
    code = f"import sys; sys.path.insert(0, {str(SRC)!r})\n{statements}\n"
    code += (
        "import json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_import_brings_nothing_heavy() -> None:
    modules = modules_after("import millstream")
    assert "millstream" in modules
    assert not modules & HEAVY


def test_reading_and_writing_need_no_torch() -> None:
    modules = modules_after("from millstream import StreamingDataset, optimize")
    assert not modules & HEAVY


def test_the_loader_without_torch_says_what_to_install() -> None:
    statements = """
sys.modules["torch"] = None
try:
    from millstream import StreamingDataLoader
except ImportError as error:
    assert error.name == "torch"
    assert "pip install 'millstream[torch]'" in str(error), error
else:
    raise AssertionError("torch was found")
"""
    assert "millstream" in modules_after(statements)


def test_the_command_line_needs_nothing_heavy() -> None:
    assert not modules_after("import millstream.cli") & HEAVY


def test_the_check_sees_what_is_imported() -> None:
    assert "PIL" in modules_after("import millstream, PIL")
