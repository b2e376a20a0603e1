"""`millstream cache`: where the copies lie, what there is, and an end to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.cache import Cache, Lease
from millstream.cli import main
from millstream.cli.cache import ago


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache folder with the ten chunks of a dataset, none of them in use."""
    place = tmp_path / "d"
    ms.optimize(lambda i: i, range(100), place, chunk_size=10, num_workers=0, verbose=False)
    for lease in leases(tmp_path / "cache", place):
        lease.close()
    return tmp_path / "cache"


def leases(cache: Path, place: Path) -> Iterator[Lease]:
    for chunk in sorted((place / "chunks").iterdir()):
        content = chunk.read_bytes()
        lease = Cache(cache, 1 << 30).lease(chunk.name, len(content), lambda c=content: [c])
        assert lease is not None
        yield lease


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["cache", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_path(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shown = run(capsys, "path", "--cache-dir", tmp_path / "none")
    assert shown == f"{tmp_path}/none/millstream-cache\n"
    assert not (tmp_path / "none").exists()
    found = json.loads(run(capsys, "path", "--json"))["path"]
    assert Path(found).name == "millstream-cache"
    assert "millstream" in Path(found).parent.name


def test_ls_and_clear(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    listed = run(capsys, "ls", "--cache-dir", root).splitlines()
    assert listed[0].split() == ["DIGEST", "SIZE", "LAST", "USED", "IN", "USE"]
    assert len(listed) == 12
    assert listed[-1].startswith(f"{root}/millstream-cache: 10 chunks, ")
    document: dict[str, Any] = json.loads(run(capsys, "ls", "--json", "--cache-dir", root))
    assert len(document["copies"]) == 10
    assert document["bytes"] == sum(entry["bytes"] for entry in document["copies"])
    assert document["copies"][0].keys() == {"name", "bytes", "last_used", "in_use"}
    cleared = run(capsys, "clear", "--cache-dir", root)
    assert cleared.endswith("10 chunks, " + listed[-1].split("chunks, ")[1] + " freed\n")
    assert run(capsys, "ls", "--cache-dir", root) == f"{root}/millstream-cache: 0 chunks, 0 B\n"
    assert json.loads(run(capsys, "clear", "--json", "--cache-dir", root))["removed"] == []


def test_what_is_in_use_stays(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    with next(leases(root, root.parent / "d")) as used:
        document = json.loads(run(capsys, "clear", "--json", "--cache-dir", root))
        assert len(document["removed"]) == 9
        (left,) = json.loads(run(capsys, "ls", "--json", "--cache-dir", root))["copies"]
        assert (left["name"], left["in_use"]) == (used.name, True)


def test_a_folder_that_cannot_be_used(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "millstream-cache").mkdir()
    (tmp_path / "millstream-cache" / "files").write_text("a file")
    assert main(["cache", "ls", "--cache-dir", str(tmp_path)]) == 2
    assert "millstream cache: " in capsys.readouterr().err


def test_how_long_ago() -> None:
    spans = (0.5, 1, 59, 61, 3_600, 90_000, 900_000)
    assert list(map(ago, spans)) == [
        "now",
        "1s ago",
        "59s ago",
        "1m ago",
        "1h ago",
        "1d ago",
        "10d ago",
    ]
