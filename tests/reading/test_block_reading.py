"""Blocks are the documents, whatever lies in which chunk; borders are where they were."""

from __future__ import annotations

import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import chunk_files, flip
from documents import blocks_of, count_calls, documents, of_lengths, segments, write
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import same

import millstream as ms
from millstream import TokensLoader
from millstream.errors import CorruptData, RowOutOfRange, StateMismatch, UsageError
from millstream.reading.dataset import stream_of
from millstream.store import LocalStore
from millstream.streaming.item_loader import TokensLoader as DocumentedPath

LENGTHS = [400, 0, 130, 7, 1, 0, 0, 900, 64, 33, 250, 3]


@pytest.fixture(scope="module")
def docs() -> list[np.ndarray]:
    return of_lengths(LENGTHS, "<u2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, docs: list[np.ndarray]) -> Path:
    return write(tmp_path_factory.mktemp("tokens") / "d", docs, chunk_size=300)


def open_blocks(folder: Path | str, size: int, borders: bool = False, **options: Any) -> Any:
    loader = TokensLoader(block_size=size, return_boundaries=borders)
    return ms.StreamingDataset(folder, item_loader=loader, **options)


# Laws -----------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(documents(), st.integers(1, 90), st.integers(1, 120))
def test_all_blocks_are_the_documents_but_for_the_tail(
    docs: list[np.ndarray], chunk: int, size: int
) -> None:
    wanted, ids = blocks_of(docs, size), segments(docs, size)
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name) / "d", docs, chunk_size=chunk)
        if not len(wanted):
            with pytest.raises(UsageError, match="choose a smaller block_size"):
                open_blocks(folder, size)
            return
        dataset, marked = open_blocks(folder, size), open_blocks(folder, size, borders=True)
        assert len(dataset) == len(marked) == len(wanted)
        assert all(map(same, dataset[:], wanted))
        assert all(map(same, dataset, wanted))
        for block, borders, sample in zip(wanted, ids, marked, strict=True):
            assert same(sample, {"tokens": block, "segment_ids": borders.astype("<i4")})
        rows = np.concatenate(ms.StreamingDataset(folder)[:])
        assert rows.tolist() == np.concatenate(docs).tolist()


@settings(max_examples=20)
@given(st.integers(1, 700), st.integers(0, 3), st.data())
def test_a_shuffled_epoch_has_each_block_once(
    folder: Path, docs: list[np.ndarray], size: int, epoch: int, data: st.DataObject
) -> None:
    wanted = blocks_of(docs, size)
    dataset = open_blocks(folder, size, shuffle=True)
    batch_size = data.draw(st.integers(1, 9))
    batches = dataset.batches(batch_size)
    batches.set_epoch(epoch)
    found = list(batches)
    rows = dataset.plan(batch_size=batch_size, epoch=epoch)
    for step, batch in enumerate(found):
        assert same(batch, wanted[rows.batch(step, 0)])
    assert sorted(rows.epoch.rows(np.arange(len(wanted))).tolist()) == list(range(len(wanted)))
    assert batches.coverage().exact
    assert sum(map(len, found)) == len(dataset)


def test_an_index_is_an_index(folder: Path, docs: list[np.ndarray]) -> None:
    wanted, dataset = blocks_of(docs, 50), open_blocks(folder, 50)
    assert same(dataset[-1], wanted[-1])
    assert same(np.stack(dataset[[5, 0, 5, 30]]), wanted[[5, 0, 5, 30]])
    assert dataset[[]] == dataset[3:3] == []
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_a_block_takes_few_calls(folder: Path) -> None:
    """Of Python's functions: they are what a batch of blocks costs beside its copy."""
    dataset = open_blocks(folder, 10)
    reader = stream_of(dataset).source._reader
    dataset[:]  # pages are checked once

    def calls(count: int) -> int:
        blocks, out = np.arange(count) * 3 % len(dataset), np.empty((count, 10), "<u2")
        return count_calls(lambda: reader.read_blocks(blocks, {"value": out}))

    assert calls(8) < 60
    assert calls(72) - calls(8) <= 2 * 64


def test_no_block_lies_outside(folder: Path) -> None:
    dataset = open_blocks(folder, 10)
    reader = stream_of(dataset).source._reader
    for block in (-1, len(dataset), 1 << 40):
        with pytest.raises(RowOutOfRange, match="outside a version of 178 blocks"):
            reader.read(np.array([block]), [0])


# What a block becomes -------------------------------------------------------------------------


def test_tensors_come_back_as_tensors(tmp_path: Path) -> None:
    docs = [torch.arange(n) for n in (7, 30, 4)]
    folder = write(tmp_path / "d", docs, chunk_size=16)
    block = open_blocks(folder, 20)[1]
    assert torch.equal(block, torch.cat(docs)[20:40])
    assert block.dtype == torch.int64
    marked = open_blocks(folder, 20, borders=True)[0]
    assert marked["segment_ids"].dtype == torch.int32
    assert marked["segment_ids"].tolist() == [0] * 7 + [1] * 13
    as_array = open_blocks(folder, 20, decode={"value": "numpy"})[1]
    assert same(as_array, torch.cat(docs)[20:40].numpy())


def test_fields_and_decode(folder: Path, docs: list[np.ndarray]) -> None:
    dataset = open_blocks(folder, 50, borders=True, fields=["tokens"], decode={"tokens": "torch"})
    (name, block), *rest = dataset[3].items()
    assert (name, rest) == ("tokens", [])
    assert torch.equal(block, torch.from_numpy(blocks_of(docs, 50)[3]))
    borders = open_blocks(folder, 50, borders=True, fields=["segment_ids"])
    assert same(borders[8]["segment_ids"], segments(docs, 50)[8].astype("<i4"))
    with pytest.raises(UsageError, match="no field"):
        open_blocks(folder, 50, fields=["tokens"])


def test_a_block_owns_its_memory(folder: Path, docs: list[np.ndarray]) -> None:
    dataset = open_blocks(folder, 50)
    dataset[3][:] = 0
    assert same(dataset[3], blocks_of(docs, 50)[3])


def test_segments_make_what_attention_asks_for(folder: Path, docs: list[np.ndarray]) -> None:
    """The recipe of docs/tokens.md: cumulative lengths, and positions."""
    ids = open_blocks(folder, 500, borders=True)[1]["segment_ids"]
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    assert np.diff([*starts, 500]).tolist() == [30, 7, 1, 462]
    positions = np.arange(500) - starts[ids]
    assert positions[[0, 29, 30, 37, 38, 499]].tolist() == [0, 29, 0, 0, 0, 461]


# The loader -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_gives_tensors(folder: Path, docs: list[np.ndarray], workers: int) -> None:
    dataset = open_blocks(folder, 30, borders=True, shuffle=True)
    loader = ms.StreamingDataLoader(dataset, batch_size=7, num_workers=workers)
    plan = dataset.plan(batch_size=7)
    for step, batch in enumerate(loader):
        rows = plan.batch(step, 0)
        assert batch["tokens"].dtype == torch.uint16
        assert same(batch["tokens"].numpy(), blocks_of(docs, 30)[rows])
        assert same(batch["segment_ids"].numpy(), segments(docs, 30)[rows].astype("<i4"))
    assert step + 1 == len(loader)
    assert loader.coverage().exact


def test_a_run_goes_on_elsewhere(folder: Path, docs: list[np.ndarray]) -> None:
    def loader(batch_size: int, size: int = 30) -> Any:
        dataset = open_blocks(folder, size, shuffle=True)
        return ms.StreamingDataLoader(dataset, batch_size=batch_size)

    first = loader(5)
    batches = iter(first)
    seen = [next(batches) for _ in range(4)]
    state = json.loads(json.dumps(first.state_dict()))
    again = loader(3)
    again.load_state_dict(state)
    seen += list(again)
    found = torch.cat(seen).numpy()
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, blocks_of(docs, 30).tolist()))
    with pytest.raises(StateMismatch, match=r"block_size \(of the TokensLoader\) was 30, is 31"):
        loader(5, size=31).load_state_dict(state)
    with pytest.raises(StateMismatch, match=r"block_size .* was 30, is 'not set'"):
        whole = ms.StreamingDataset(folder, shuffle=True)
        ms.StreamingDataLoader(whole).load_state_dict(state)


def test_ranks_share_an_epoch(folder: Path, docs: list[np.ndarray]) -> None:
    dataset = open_blocks(folder, 30, shuffle=True)
    found = [
        b for rank in range(3) for b in dataset.batches(4, rank=rank, ranks=3, drop_last=False)
    ]
    assert sorted(map(tuple, np.concatenate(found).tolist())) == sorted(
        map(tuple, blocks_of(docs, 30).tolist())
    )


def test_a_plain_loader_a_transform_and_a_part(folder: Path, docs: list[np.ndarray]) -> None:
    def ends(block: np.ndarray) -> tuple[int, int]:
        return int(block[0]), len(block)

    dataset = open_blocks(folder, 30, subsample=0.5, transform=ends)
    assert len(dataset) == round(len(blocks_of(docs, 30)) / 2)
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2)
    found = sorted((int(first), int(count)) for first, count in loader)
    assert found == sorted(dataset[:])
    assert {first for first, _ in found} <= set(blocks_of(docs, 30)[:, 0].tolist())
    assert {count for _, count in found} == {30}


def test_a_dataset_travels(folder: Path) -> None:
    dataset = open_blocks(folder, 30, borders=True)
    assert same(pickle.loads(pickle.dumps(dataset))[7], dataset[7])


# Errors ---------------------------------------------------------------------------------------


def test_a_changed_token_is_found(tmp_path: Path, docs: list[np.ndarray]) -> None:
    folder = write(tmp_path / "d", docs, chunk_size=300)
    damaged = chunk_files(LocalStore(folder))[2]
    flip(damaged, damaged.stat().st_size - 1)
    dataset = open_blocks(folder, 50)
    assert same(dataset[0], blocks_of(docs, 50)[0])
    with pytest.raises(CorruptData, match=f"chunk {damaged.name}, rows 0 to .*: a page of tokens"):
        dataset[:]
    assert len(open_blocks(folder, 50, verify=False)[:]) == len(dataset)


def test_what_cannot_be_read_in_blocks(folder: Path, tmp_path: Path) -> None:
    ms.optimize(lambda i: {"a": i}, range(3), tmp_path / "d", num_workers=0, verbose=False)
    with pytest.raises(UsageError, match="was not written with item_loader=TokensLoader"):
        open_blocks(tmp_path / "d", 2)
    with pytest.raises(UsageError, match="says no block_size"):
        ms.StreamingDataset(folder, item_loader=TokensLoader())
    with pytest.raises(UsageError, match="item_loader is 2049"):
        ms.StreamingDataset(folder, item_loader=2049)  # type: ignore[arg-type]


def test_the_documented_path_leads_here() -> None:
    assert DocumentedPath is TokensLoader
