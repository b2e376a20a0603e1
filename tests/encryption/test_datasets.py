"""Encrypted datasets hold what others hold, give it to who has the key, and to nobody else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encryption.kinds import NAMES, PASSWORD, Reversed, aes, all_kinds, fernet
from encryption.secret_data import ROWS, plaintexts, sample, seen_in, write
from strategies import same

import millstream as ms
from millstream.errors import CannotDecrypt, UsageError
from millstream.format import BUILTIN, ChunkView, Undoing
from millstream.format.ciphers import known_ciphers
from millstream.reading.dataset import stream_of
from millstream.utilities.encryption import Encryption, FernetEncryption

LEVELS = ["sample", "chunk"]
COMPRESSIONS = [None, "zstd"]


@cache
def at_level(number: int, level: str) -> Encryption:
    kind = copy(all_kinds()[number])
    kind.level = level
    return kind


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> ms.StreamingDataset:
    return write(tmp_path_factory.mktemp("plain") / "d", None)


Made = Callable[..., tuple[Path, Encryption]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Datasets, each written once."""

    @cache
    def make(number: int, level: str, compression: str | None = None) -> tuple[Path, Encryption]:
        folder, kind = tmp_path_factory.mktemp("d") / "d", at_level(number, level)
        write(folder, kind, compression=compression)
        return folder, kind

    return make


every_way = pytest.mark.parametrize(
    ("number", "level", "compression"),
    [(n, level, None) for n in range(len(NAMES)) for level in LEVELS]
    + [(n, level, "zstd") for n in (0, 1, 4) for level in LEVELS],
)
both_levels = pytest.mark.parametrize("level", LEVELS)


def table(dataset: ms.StreamingDataset) -> Any:
    return stream_of(dataset).source.manifest.chunks


@every_way
def test_rows_order_and_cuts_are_those_of_a_plain_one(
    made: Made, plain: ms.StreamingDataset, number: int, level: str, compression: str | None
) -> None:
    folder, kind = made(number, level, compression)
    dataset = ms.StreamingDataset(folder, encryption=kind)
    assert same(list(dataset), [sample(i) for i in range(ROWS)])
    assert same([dataset[i] for i in (0, 19, -1)], [sample(i) for i in (0, 19, ROWS - 1)])
    assert same(dataset[::-7], [sample(i) for i in range(ROWS)][::-7])
    assert same(dataset[[41, 3, 3]], [sample(i) for i in (41, 3, 3)])
    assert table(dataset).rows.tolist() == table(plain).rows.tolist()
    shuffled, other = [
        ms.StreamingDataset(place, shuffle=True, encryption=key)
        for place, key in [(folder, kind), (stream_of(plain).source.place.root, None)]
    ]
    assert [s["id"] for s in shuffled] == [s["id"] for s in other]
    assert not seen_in(folder)


def test_what_is_looked_for_is_in_a_plain_one(plain: ms.StreamingDataset) -> None:
    found = {secret for _, secret in seen_in(stream_of(plain).source.place.root)}
    assert found == set(plaintexts())


@every_way
def test_batches_are_those_of_a_plain_one(
    made: Made, plain: ms.StreamingDataset, number: int, level: str, compression: str | None
) -> None:
    folder, kind = made(number, level, compression)
    dataset = ms.StreamingDataset(folder, encryption=kind, shuffle=True)
    dense = ["id", "name", "note", "vector", "pair"]
    wanted = ms.StreamingDataset(stream_of(plain).source.place.root, shuffle=True)
    assert all(map(alike, dataset.batches(16), wanted.batches(16)))
    some = ms.StreamingDataset(folder, encryption=kind, shuffle=True, fields=dense)
    some_plain = ms.StreamingDataset(stream_of(plain).source.place.root, shuffle=True, fields=dense)
    for workers in (0, 2) if compression is None and number in (0, 1) else (0,):
        loaders = [
            ms.StreamingDataLoader(one, batch_size=16, num_workers=count)
            for one, count in [(some, workers), (some_plain, 0)]
        ]
        batches = [list(loader) for loader in loaders]
        assert all(map(alike, *batches))
        assert sum(len(batch["id"]) for batch in batches[0]) == ROWS


def alike(one: Any, other: Any) -> bool:
    """Equal, with arrays and tensors in the same places."""
    if isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in other)
    if isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if hasattr(other, "dtype"):
        return one.dtype == other.dtype and bool(np.array_equal(one, other))
    return bool(one == other)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_documented_use_runs(tmp_path: Path, workers: int) -> None:
    fernet = FernetEncryption(password="your_secure_password", level="sample")
    ms.optimize(
        fn=lambda index: {"image": bytes(range(100)), "class": index},
        inputs=list(range(5)),
        num_workers=workers,
        output_dir=tmp_path / "d",
        chunk_bytes="64MB",
        encryption=fernet,
        verbose=False,
    )
    fernet.save(tmp_path / "fernet.pem")
    fernet = FernetEncryption(password="your_secure_password", level="sample")
    fernet.load(tmp_path / "fernet.pem")
    ds = ms.StreamingDataset(input_dir=tmp_path / "d", encryption=fernet)
    assert [s["class"] for s in ds] == list(range(5))
    # And the password alone.
    ds = ms.StreamingDataset(tmp_path / "d", encryption=FernetEncryption("your_secure_password"))
    assert ds[3] == {"image": bytes(range(100)), "class": 3}


# Without the key ------------------------------------------------------------------------------


def roads(folder: Path, cache: Path, key: Encryption | None) -> Iterable[Callable[[], object]]:
    """All ways to read a first row."""

    def opened(place: Any = folder, **options: Any) -> ms.StreamingDataset:
        return ms.StreamingDataset(place, encryption=key, cache_dir=cache, **options)

    yield lambda: opened()[0]
    yield lambda: opened()[:2]
    yield lambda: next(iter(opened()))
    yield lambda: next(iter(opened().batches(4)))
    yield lambda: opened(f"local:{folder}")[0]
    yield lambda: next(iter(opened(f"local:{folder}")))
    yield lambda: opened(verify=False)[0]
    yield lambda: next(iter(ms.StreamingDataLoader(opened(fields=["id"]), batch_size=4)))
    yield lambda: next(
        iter(ms.StreamingDataLoader(opened(fields=["id"]), batch_size=4, num_workers=1))
    )


@both_levels
@pytest.mark.parametrize("number", [0, 1], ids=NAMES[:2])
def test_a_wrong_password_is_an_error_on_every_road(
    made: Made, number: int, level: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, right = made(number, level)
    wrong = [fernet("a wrong one"), aes("a wrong one")][number]
    caplog.set_level(logging.DEBUG)
    for ask in roads(folder, tmp_path, wrong):
        with pytest.raises(
            CannotDecrypt, match=r"chunk [0-9a-f]{64}.*password of .* is wrong"
        ) as e:
            ask()
        assert "a wrong one" not in str(e.value) + caplog.text
    for ask in roads(folder, tmp_path, None):
        with pytest.raises(CannotDecrypt, match=r"chunk [0-9a-f]{64}.*pass encryption="):
            ask()
    for ask in roads(folder, tmp_path, Reversed()):
        with pytest.raises(CannotDecrypt, match=r"is encrypted with .*pass the encryption that"):
            ask()
    for ask in roads(folder, tmp_path, right):
        ask()
    assert PASSWORD not in caplog.text


def test_the_password_itself_is_no_encryption(made: Made) -> None:
    with pytest.raises(UsageError, match="encryption is a str, expected an Encryption") as raised:
        ms.StreamingDataset(made(0, "sample", "zstd")[0], encryption=PASSWORD)  # type: ignore[arg-type]
    assert PASSWORD not in str(raised.value)


def test_a_key_for_what_is_not_encrypted_does_no_harm(plain: ms.StreamingDataset) -> None:
    folder = stream_of(plain).source.place.root
    assert same(ms.StreamingDataset(folder, encryption=aes())[5], sample(5))


def test_a_pickled_dataset_opens_what_it_opened(made: Made) -> None:
    import pickle

    folder, kind = made(1, "sample")
    dataset = ms.StreamingDataset(folder, encryption=kind)
    assert same(pickle.loads(pickle.dumps(dataset))[7], sample(7))
    assert PASSWORD not in repr(dataset)


# What a chunk shows ---------------------------------------------------------------------------


def views(folder: Path) -> list[ChunkView]:
    paths = sorted((folder / "chunks").iterdir())
    undoing = Undoing(known={**BUILTIN, **known_ciphers(at_level(0, "sample"))})
    return [ChunkView(memoryview(p.read_bytes()), p.name, undoing=undoing) for p in paths]


def test_a_sample_is_one_ciphertext_and_shows_no_shape(made: Made) -> None:
    folder, kind = made(0, "sample", "zstd")
    fields = stream_of(ms.StreamingDataset(folder, encryption=kind)).source.manifest.schema.fields
    assert [field.shape for field in fields] == [None] * len(fields)
    for view in views(folder):
        (group,) = view.layout.groups
        assert not (view.layout.columns or view.layout.tokens or view.layout.dictionary)
        assert group.fields == tuple(range(len(fields)))
        assert [spec["name"] for spec in group.filters] == ["zstd", "fernet"]
        assert group.raw is None


def test_compression_comes_before_encryption(made: Made) -> None:
    for level in LEVELS:
        sizes = [
            sum(path.stat().st_size for path in (made(1, level, how)[0] / "chunks").iterdir())
            for how in COMPRESSIONS
        ]
        assert sizes[1] < 0.9 * sizes[0], level
