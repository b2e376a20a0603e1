"""The direction of imports: errors <- format, plan, store, execution <- cache <- the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from layers import LAYERS, violations

PACKAGE = Path(__file__).parents[2] / "src" / "millstream"
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "base", "misc", "shared"}


def test_every_module_imports_downwards_only() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert PACKAGE / "errors.py" in modules
    found = [
        violation
        for module in modules
        for violation in violations(module.relative_to(PACKAGE).as_posix(), module.read_text())
    ]
    assert not found, "against the layers of tests/house/layers.py:\n" + "\n".join(found)


def test_every_part_has_a_layer() -> None:
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix in {"", ".py"}}
    assert parts - {"__pycache__", "py", "_worker", "py.typed"} <= set(LAYERS)


def test_no_package_is_named_after_nothing() -> None:
    assert not {path for path in PACKAGE.rglob("*") if path.stem in FORBIDDEN_NAMES}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("format/chunk.py", "from millstream.plan.order import Order"),
        ("format/chunk.py", "import millstream.store"),
        ("plan/order.py", "def f():\n    from millstream import format"),
        ("plan/order.py", "from ..reading import dataset"),
        ("plan/order.py", "from .. import cache"),
        ("plan/__init__.py", "from ..cache import x"),
        ("store/local.py", "from millstream import StreamingDataset"),
        ("writing/cuts.py", "from millstream.reading.reader import Reader"),
        ("reading/reader.py", "import importlib\nimportlib.import_module('millstream.torch')"),
        ("errors.py", "import millstream.interop"),
        ("_worker.py", "from millstream.writing import tasks"),
        ("cli.py", "import millstream.torch.loader"),
        ("reading/reader.py", "import torch"),
        ("reading/reader.py", "from torch.utils import data"),
        ("reading/reader.py", "import obstore"),
        ("format/codecs/pixels.py", "from PIL import Image"),
        ("format/codecs/pixels.py", "class A:\n    import PIL"),
        ("format/chunk.py", "import pandas"),
    ],
)
def test_a_violation_is_found(path: str, source: str) -> None:
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("format/chunk.py", "import json\nfrom millstream.errors import CorruptData"),
        ("format/codecs/json.py", "from ..schema import Schema\nfrom .codec import Codec"),
        ("format/codecs/pixels.py", "def f():\n    from PIL import Image"),
        ("format/__init__.py", "from .chunk import x\nfrom ..errors import y"),
        ("writing/cuts.py", "import millstream.cache\nfrom millstream.format import chunk"),
        ("torch/loader.py", "import torch\nfrom millstream.reading import dataset"),
        ("store/cloud.py", "import obstore"),
        ("_worker.py", "from millstream.execution import worker"),
    ],
)
def test_what_is_allowed_is_not_reported(path: str, source: str) -> None:
    assert violations(path, source) == []
