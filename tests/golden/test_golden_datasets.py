"""Datasets that were written once, and must be readable for ever.

tests/golden/v1 may get more of them; what is there may never change. `python tests/golden/write.py`
writes those of kinds.py that are missing.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from kinds import KINDS, Golden, all_of_them
from strategies import same

import millstream as ms
from millstream.reading.verify import check_bytes
from millstream.store import LocalStore
from millstream.versions import load_version

PLACE = Path(__file__).parent / "v1"
CASES = list(all_of_them())
NAMES = [f"{name}-{number}" for number, (name, _) in enumerate(CASES)]


@pytest.mark.parametrize(("name", "golden"), CASES, ids=NAMES)
def test_it_is_read(name: str, golden: Golden) -> None:
    dataset = ms.StreamingDataset(PLACE / name, **golden.read())
    expected = golden.samples()
    assert len(dataset) == len(expected)
    assert all(map(same, dataset[:], expected))
    assert all(map(same, dataset, expected))
    assert same(dataset[len(expected) - 1], expected[-1])


@pytest.mark.parametrize("name", KINDS)
def test_it_is_whole(name: str) -> None:
    store = LocalStore(PLACE / name)
    checked = list(check_bytes(store, load_version(store).manifest, threads=1))
    assert checked
    assert not [finding for one in checked for finding in one.findings]


@pytest.mark.parametrize("name", [name for name, golden in KINDS.items() if golden.is_fixed])
def test_it_is_written_the_same(name: str, tmp_path: Path) -> None:
    KINDS[name].write(tmp_path / name)
    for written in sorted((PLACE / name).rglob("*")):
        if written.is_file():
            again = tmp_path / name / written.relative_to(PLACE / name)
            assert again.read_bytes() == written.read_bytes(), written


def test_each_kind_is_there() -> None:
    assert {path.name for path in PLACE.iterdir() if path.is_dir()} == set(KINDS)
