"""Compressed jobs: the same bytes for any number of workers, and after any kill."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kills import live, tree
from PIL import Image as PillowImage

import millstream as ms
from millstream.errors import OutputNotEmpty, UsageError
from millstream.format import ChunkView, read_header
from millstream.format.layout import Layout
from millstream.store import LocalStore
from millstream.versions import load_version
from millstream.writing import tasks

HOW = ["zstd", "zstd:19", "zstd/frame", "zstd:1/chunk"]
WORDS = [f"word{n:03}" for n in range(90)]


def text(i: int) -> str:
    return " ".join(random.Random(i).choices(WORDS, k=12))


def sample(i: int) -> dict[str, Any]:
    """Columns, blobs, and an array that is a group of its own."""
    return {"id": i, "text": text(i), "meta": f"{i % 7}" * 5, "ragged": np.full(i % 4, 1 << 40)}


def layouts(folder: Path) -> list[Layout]:
    table = load_version(LocalStore(folder)).manifest.chunks
    chunks = [folder / "chunks" / table.name(n) for n in range(len(table))]
    return [read_header(memoryview(chunk.read_bytes())).layout for chunk in chunks]


def dictionaries(folder: Path) -> set[bytes]:
    found = set()
    for path in (folder / "chunks").iterdir():
        content = memoryview(path.read_bytes())
        header = read_header(content)
        if (shared := header.layout.dictionary) is not None:
            span = shared.data
            found.add(bytes(content[header.body + span.offset : header.body + span.stop]))
    return found


def job(folder: Path, how: str | None, rows: int = 1200, **options: Any) -> Any:
    options = {"num_workers": 0, "chunk_bytes": "30kB", "verbose": False, **options}
    return ms.optimize(sample, range(rows), folder, compression=how, **options)


@pytest.mark.parametrize("how", HOW)
def test_any_number_of_workers_writes_the_same(tmp_path: Path, how: str) -> None:
    for workers in (0, 1, 3):
        job(tmp_path / f"{workers}", how, num_workers=workers)
    assert tree(tmp_path / "0") == tree(tmp_path / "1") == tree(tmp_path / "3")
    assert len(layouts(tmp_path / "0")) >= 4


def test_all_chunks_have_one_dictionary(tmp_path: Path) -> None:
    job(tmp_path / "d", "zstd")
    assert len(dictionaries(tmp_path / "d")) == 1
    assert all(layout.dictionary for layout in layouts(tmp_path / "d"))
    assert load_version(LocalStore(tmp_path / "d")).manifest.filters == ("zstd",)


def test_where_chunks_end_does_not_depend_on_compression(tmp_path: Path) -> None:
    rows = []
    for number, how in enumerate([None, *HOW]):
        job(tmp_path / f"{number}", how)
        rows.append([layout.rows for layout in layouts(tmp_path / f"{number}")])
    assert all(some == rows[0] for some in rows)


def test_rows_are_smaller_with_their_dictionary_than_without(tmp_path: Path) -> None:
    sizes = [job(tmp_path / f"{n}", how).bytes for n, how in enumerate([None, "zstd"])]
    assert sizes[1] < 0.7 * sizes[0]


# Kills ------------------------------------------------------------------------------------------


@pytest.fixture
def few_inputs_a_task(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tasks, "MAX_TASKS", 4)
    yield


@pytest.mark.parametrize("how", ["zstd", "zstd/chunk"])
def test_killed_before_each_change_to_the_disk(
    tmp_path: Path, few_inputs_a_task: None, how: str
) -> None:
    options = {"rows": 300, "chunk_bytes": "14kB"}

    def run(folder: Path) -> None:
        job(folder, how, **options)

    undisturbed = live(lambda: run(tmp_path / "0"), tmp_path)
    whole = tree(tmp_path / "0")
    assert len(undisturbed.changes) > 30
    assert len(dictionaries(tmp_path / "0")) == (how == "zstd")
    for number in range(1, len(undisturbed.changes) + 1):
        folder = tmp_path / f"{number}"
        assert live(lambda folder=folder: run(folder), tmp_path, number).killed
        run(folder)
        assert tree(folder) == whole


def test_the_dictionary_is_made_once_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millstream.writing import work

    made: list[int] = []
    train = work.train_dictionary
    monkeypatch.setattr(
        work, "train_dictionary", lambda *given: made.append(len(given[0])) or train(*given)
    )
    job(tmp_path / "d", "zstd")
    assert len(made) == 1

    class Full(Exception):
        pass

    put, count = work.Work._assemble, 0

    def fails(self: Any, task: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            raise Full
        return put(self, task)

    monkeypatch.setattr(work.Work, "_assemble", fails)
    with pytest.raises(Exception, match="Full"):
        job(tmp_path / "stopped", "zstd")
    monkeypatch.setattr(work.Work, "_assemble", put)
    assert len(made) == 2
    job(tmp_path / "stopped", "zstd")
    assert len(made) == 2
    assert tree(tmp_path / "stopped") == tree(tmp_path / "d")


# What it means for data of other kinds ----------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
def test_the_example_that_others_document(tmp_path: Path, how: str) -> None:
    def compress(index: int) -> tuple[int, int]:
        return index, index**2

    sizes = []
    for number, compression in enumerate([None, how]):
        report = ms.optimize(
            compress, range(1_000), tmp_path / f"{number}", chunk_bytes="64MB", num_workers=1,
            compression=compression, verbose=False,
        )  # fmt: skip
        sizes.append(report.bytes)
        dataset = ms.StreamingDataset(tmp_path / f"{number}")
        assert [dataset[i] for i in range(1_000)] == [compress(i) for i in range(1_000)]
    assert sizes[1] < sizes[0] / 2


def test_what_is_compressed_already_is_left_alone(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for number in range(30):
        pixels = noise.integers(0, 256, (120, 120, 3), np.uint8)
        PillowImage.fromarray(pixels).save(tmp_path / f"{number}.jpg")
    paths = [str(tmp_path / f"{number}.jpg") for number in range(30)]

    def photo(path: str) -> dict[str, Any]:
        number = int(Path(path).stem)
        return {
            "image": ms.Jpeg(path=path),
            "video": ms.File(path),
            "caption": text(number) * 3,
            "label": number // 8,
        }

    ms.optimize(photo, paths, tmp_path / "d", compression="zstd", num_workers=0, verbose=False)
    (path,) = (tmp_path / "d/chunks").iterdir()
    content = path.read_bytes()
    names = ["caption", "image", "label", "video"]
    layout = ChunkView(memoryview(content), "d").layout
    packed = {names[f] for group in layout.groups if group.filters for f in group.fields}
    assert packed == {"caption"}
    for number in range(30):
        assert (tmp_path / f"{number}.jpg").read_bytes() in content
    dataset = ms.StreamingDataset(tmp_path / "d", decode={"image": "bytes"})
    for number, found in enumerate(dataset):
        raw = (tmp_path / f"{number}.jpg").read_bytes()
        assert found["video"] == raw
        assert found["caption"] == text(number) * 3


@pytest.mark.parametrize("how", HOW)
def test_tokens(tmp_path: Path, how: str) -> None:
    def document(i: int) -> np.ndarray:
        return np.random.default_rng(i).integers(0, 50, 300 + i, np.uint16)

    sizes = []
    for number, compression in enumerate([None, how, how]):
        report = ms.optimize(
            document, range(200), tmp_path / f"{number}", item_loader=ms.TokensLoader(),
            chunk_size=20_000, compression=compression, num_workers=number, verbose=False,
        )  # fmt: skip
        sizes.append(report.bytes)
    assert sizes[1] < 0.6 * sizes[0]
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    for loader in (None, ms.TokensLoader(block_size=97)):
        plain, packed = (
            ms.StreamingDataset(tmp_path / f"{n}", item_loader=loader, shuffle=True) for n in (0, 1)
        )
        assert len(plain) == len(packed) > 0
        assert all(np.array_equal(a, b) for a, b in zip(plain, packed, strict=True))
        assert np.array_equal(plain[33], packed[33])


# What is asked for --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["", "gzip", "zstd:0", "zstd:23", "zstd:9/rows", "ZSTD", 3])
def test_what_makes_no_sense_is_refused(tmp_path: Path, how: Any) -> None:
    with pytest.raises(UsageError, match="expected None, 'zstd', or 'zstd:LEVEL'"):
        job(tmp_path / "d", how)
    assert not (tmp_path / "d").exists()


def test_another_compression_is_another_job(tmp_path: Path) -> None:
    job(tmp_path / "d", "zstd", rows=20)
    assert job(tmp_path / "d", "zstd:3", rows=20).already_done
    with pytest.raises(OutputNotEmpty, match="compression"):
        job(tmp_path / "d", "zstd:4", rows=20)


def test_versions_may_differ_in_compression(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    for number, how in enumerate([None, *HOW]):
        ms.optimize(
            lambda i: {"id": i, "text": text(i)}, range(100 * number, 100 * number + 100), folder,
            compression=how, chunk_size=60, mode="append", num_workers=0, verbose=False,
        )  # fmt: skip
    dataset = ms.StreamingDataset(folder)
    assert [row["text"] for row in dataset] == [text(i) for i in range(500)]
    assert load_version(LocalStore(folder)).manifest.filters == ("body", "zstd")
    ms.merge_datasets([folder, folder], tmp_path / "merged", verbose=False)
    merged = ms.StreamingDataset(tmp_path / "merged", shuffle=True)
    assert sorted(row["id"] for row in merged) == sorted(2 * list(range(500)))
    assert load_version(LocalStore(tmp_path / "merged")).manifest.filters == ("body", "zstd")
