"""Documents of tokens that are appended, overwritten and merged; and never among other samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import blocks_of, of_lengths, segments, write
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import same

import millstream as ms
from millstream import TokensLoader
from millstream.errors import OutputNotEmpty, SampleError
from millstream.format import Manifest
from millstream.reading.verify import check_bytes
from millstream.store import LocalStore
from millstream.versions import load_version, newest_version
from millstream.writing.commit import publish_next

LENGTHS = [[70, 0, 130, 3], [1, 64, 0], [300, 9]]
DOCS = [of_lengths(some, "<u2") for some in LENGTHS]

Put = Callable[[Path], object]


def newest(folder: Path) -> Manifest:
    return load_version(LocalStore(folder)).manifest


def merged(folder: Path, docs: list[list[Any]], sizes: list[int]) -> Path:
    """Each list written as a dataset, and these merged."""
    parts = [
        write(folder / f"{number}", some, chunk_size=size)
        for number, (some, size) in enumerate(zip(docs, sizes, strict=True))
    ]
    ms.merge_datasets(parts, folder / "d", verbose=False)
    return folder / "d"


def appended(folder: Path, docs: list[list[Any]], sizes: list[int]) -> Path:
    """The first list written, and the others appended."""
    for number, (some, size) in enumerate(zip(docs, sizes, strict=True)):
        write(folder / "d", some, chunk_size=size, mode="append" if number else None)
    return folder / "d"


@settings(max_examples=12)
@given(
    way=st.sampled_from([merged, appended]),
    order=st.permutations(range(3)),
    sizes=st.lists(st.integers(20, 200), min_size=3, max_size=3),
    block=st.integers(1, 300),
)
def test_blocks_go_across_what_was_put_together(
    tmp_path_factory: pytest.TempPathFactory,
    way: Callable[[Path, list[list[Any]], list[int]], Path],
    order: list[int],
    sizes: list[int],
    block: int,
) -> None:
    parts = [DOCS[number] for number in order]
    folder = way(tmp_path_factory.mktemp("law"), parts, sizes)
    docs = [doc for some in parts for doc in some]
    manifest = newest(folder)
    assert manifest.tokens == sum(map(len, docs))
    assert manifest.settings["item_loader"] == "tokens"
    wanted, ids = blocks_of(docs, block), segments(docs, block)
    loader = TokensLoader(block, return_boundaries=True)
    found = ms.StreamingDataset(folder, item_loader=loader)[:]
    assert same(np.stack([sample["tokens"] for sample in found]), wanted)
    assert np.array_equal([sample["segment_ids"] for sample in found], ids)
    checked = check_bytes(LocalStore(folder), manifest, threads=1)
    assert not any(chunk.findings for chunk in checked)


def test_an_overwrite_may_put_tokens_where_others_were(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    ms.optimize(lambda i: {"id": i}, range(3), folder, num_workers=0, verbose=False)
    write(folder, DOCS[0], mode="overwrite")
    assert newest(folder).tokens == 203
    ms.optimize(
        lambda i: {"id": i}, range(3), folder, mode="overwrite", num_workers=0, verbose=False
    )
    assert newest(folder).tokens is None


# Never mixed ---------------------------------------------------------------------------------


@pytest.fixture
def kinds(tmp_path: Path) -> tuple[Path, Path]:
    """The same values as documents of tokens, and as arrays, which have the same schema."""
    tokens, arrays = write(tmp_path / "tokens", DOCS[0]), tmp_path / "arrays"
    ms.optimize(DOCS[0].__getitem__, range(4), arrays, num_workers=0, verbose=False)
    fields = [newest(folder).schema.fields[0] for folder in (tokens, arrays)]
    assert str(fields[0]) == str(fields[1])
    return tokens, arrays


def test_what_is_appended_is_of_the_same_kind(kinds: tuple[Path, Path]) -> None:
    tokens, arrays = kinds
    calls: list[int] = []

    def fn(index: int) -> Any:
        calls.append(index)
        return DOCS[1][index]

    for folder, loader, other in ((tokens, None, arrays), (arrays, TokensLoader(), tokens)):
        said = (
            f"version 1 of {folder} holds {{}}, what is appended is {{}}; pass item_loader="
        ).format(*_words(loader is None))
        with pytest.raises(SampleError, match=said):
            ms.optimize(
                fn,
                range(3),
                folder,
                item_loader=loader,
                mode="append",
                num_workers=0,
                verbose=False,
            )
        with pytest.raises(SampleError, match=said):
            ms.merge_datasets([other], folder, mode="append", verbose=False)
        assert newest(folder).version == 1
        # Nothing is left that would be in the way of the right call.
        assert not list(folder.glob(".job*"))
    assert calls == []


def _words(old_has_tokens: bool) -> tuple[str, str]:
    words = ("documents of tokens", "samples of another kind")
    return words if old_has_tokens else words[::-1]


def test_all_that_are_merged_are_of_one_kind(kinds: tuple[Path, Path], tmp_path: Path) -> None:
    tokens, arrays = kinds
    for inputs in ([tokens, arrays], [arrays, tokens], [arrays, arrays, tokens]):
        with pytest.raises(SampleError) as caught:
            ms.merge_datasets(inputs, tmp_path / "e", verbose=False)
        assert (
            f"version 1 of {tokens} holds documents of tokens, version 1 of {arrays} samples of "
            "another kind"
        ) in str(caught.value)
    assert not (tmp_path / "e").exists()


def test_one_who_lost_the_race_to_another_kind_adds_nothing(kinds: tuple[Path, Path]) -> None:
    """The version that it saw was replaced while it worked."""
    tokens, arrays = kinds
    store = LocalStore(tokens)
    seen = newest_version(store)
    ms.merge_datasets([arrays], tokens, mode="overwrite", verbose=False)
    with pytest.raises(SampleError, match=r"version 2 of .* holds samples of another kind"):
        publish_next(store, _other(tokens), "append", seen)
    with pytest.raises(OutputNotEmpty):
        publish_next(store, _other(tokens), "overwrite", seen)
    assert newest(tokens).version == 2


def _other(folder: Path) -> Manifest:
    """Of a job that wrote tokens."""
    return newest(write(folder.parent / "other", DOCS[2], num_workers=0))
