"""Verify: a flipped byte is found wherever it is, and named; a whole dataset has no findings."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import add_version, chunk_files, flip, manifest_file, write
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import rows

import millstream as ms
from millstream.errors import DatasetNotFound
from millstream.format import Tombstone, read_header
from millstream.format.layout import HEAD_BYTES, Layout
from millstream.reading.sizes import mean_sizes, spread
from millstream.reading.verify import Finding, check_bytes, check_parent, check_sizes
from millstream.store import LocalStore
from millstream.versions import history, load_version


def findings(store: LocalStore) -> list[Finding]:
    manifest = load_version(store).manifest
    checked = list(check_bytes(store, manifest, threads=2))
    assert [c.size for c in checked] == manifest.chunks.sizes.tolist()
    return [finding for c in checked for finding in c.findings]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    return write(tmp_path_factory.mktemp("data") / "d")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return write(tmp_path / "d")


@settings(max_examples=20)
@given(rows(max_size=8))
def test_what_was_written_has_no_findings(samples: list[Any]) -> None:
    samples = [sample for sample in samples if sample is not None]
    if not samples:
        return
    with tempfile.TemporaryDirectory() as place:
        store = write(Path(place) / "d", len(samples), samples.__getitem__, chunk_size=3)
        assert findings(store) == []
        manifest = load_version(store).manifest
        assert [c.findings for c in check_sizes(store, manifest)] == [()] * len(manifest.chunks)


class Places:
    """Where things lie in a chunk of `datasets.make`."""

    def __init__(self, content: bytes) -> None:
        header = read_header(memoryview(content))
        self.body, self.layout = header.body, header.layout

    def kinds(self) -> dict[str, tuple[int, tuple[int, int], tuple[str, ...]]]:
        """A byte of every kind, the rows of the chunk that it concerns, and their fields."""
        layout: Layout = self.layout
        everything = (0, layout.rows - 1)
        names = [field.name for field in layout.schema.fields]
        found = {
            "preamble": (9, everything, ()),
            "reserved": (HEAD_BYTES - 1, everything, ()),
            "header": (HEAD_BYTES + 5, everything, ()),
            "padding": (self.body + self.gap(), everything, ()),
        }
        for column in layout.columns:
            name = names[column.field]
            at = self.body + column.data.offset + 2 * column.itemsize
            sums = self.body + column.sums.offset
            found[f"column {name}"] = (at, everything, (name,))
            found[f"sums of column {name}"] = (sums, everything, (name,))
        for group in layout.groups:
            fields = tuple(names[f] for f in group.fields)
            sums = self.body + group.sums.offset + 8 * 6
            found[f"sums of {fields}"] = (sums, (6, 6), fields)
            found[f"offset 0 of {fields}"] = (self.body + group.offsets.offset, (0, 0), fields)
            middle = self.body + group.offsets.offset + 8 * 6
            found[f"offset 6 of {fields}"] = (middle, (5, 6), fields)
            high = middle + 7
            found[f"high byte of offset 6 of {fields}"] = (high, (5, 6), fields)
        return found

    def gap(self) -> int:
        """A byte of the body that belongs to nothing."""
        used = np.zeros(self.layout.body_bytes, np.bool_)
        for span in self.layout.spans():
            used[span.offset : span.stop] = True
        return int(np.flatnonzero(~used)[0])

    def blobs(self, content: bytes) -> Iterator[tuple[int, int, tuple[str, ...]]]:
        """The first byte of each blob, its row, and its fields."""
        for group in self.layout.groups:
            start = self.body + group.offsets.offset
            offsets = np.frombuffer(content[start : start + 8 * (self.layout.rows + 1)], "<u8")
            fields = tuple(self.layout.schema.fields[f].name for f in group.fields)
            for row, at in enumerate(offsets[:-1].tolist()):
                if at < offsets[row + 1]:
                    yield self.body + group.data.offset + at, row, fields


def test_a_byte_of_every_kind_is_named(whole: LocalStore) -> None:
    path = chunk_files(whole)[1]
    content = path.read_bytes()
    kinds = Places(content).kinds()
    assert len(kinds) >= 14
    for kind, (offset, (first, last), fields) in kinds.items():
        flip(path, offset)
        found = findings(whole)
        path.write_bytes(content)
        assert {f.chunk for f in found} == {1}, kind
        assert {f.digest for f in found} == {path.name}
        assert {f.fields for f in found} == {fields}, kind
        pairs = [f.rows for f in found if f.rows]
        assert (pairs[0][0], pairs[-1][1]) == (20 + first, 20 + last), kind
        assert str(found[0]).startswith(f"chunk 1 ({path.name[:12]}), row")
    assert findings(whole) == []


def test_every_blob_is_named_by_its_row(whole: LocalStore) -> None:
    path = chunk_files(whole)[2]
    content = path.read_bytes()
    for offset, row, fields in Places(content).blobs(content):
        flip(path, offset)
        (found,) = findings(whole)
        path.write_bytes(content)
        assert (found.rows, found.fields) == ((40 + row, 40 + row), fields)


@settings(max_examples=60)
@given(st.data())
def test_no_flipped_bit_stays_hidden(whole: LocalStore, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(chunk_files(whole)))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, 8 * len(content) - 1))
    original = bytes(content)
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)
    try:
        assert {found.digest for found in findings(whole)} == {path.name}
    finally:
        path.write_bytes(original)


def test_a_page_of_a_column_is_named(tmp_path: Path) -> None:
    store = write(tmp_path / "d", 4_000, lambda i: np.full(100, i), chunk_size=2_000)
    path = chunk_files(store)[1]
    header = read_header(memoryview(path.read_bytes()))
    column = header.layout.columns[0]
    row = 3 * column.page + 1
    flip(path, header.body + column.data.offset + row * column.itemsize)
    (found,) = findings(store)
    first = 2_000 + 3 * column.page
    assert found.rows == (first, first + column.page - 1)
    assert found.fields == ("value",)


def test_all_problems_are_listed(store: LocalStore) -> None:
    missing, cut, longer = chunk_files(store)
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    longer.write_bytes(longer.read_bytes() + b"x")
    expected = [(0, "missing"), (1, "bytes, the manifest lists"), (2, "bytes, the manifest lists")]
    manifest = load_version(store).manifest
    quick = [finding for c in check_sizes(store, manifest) for finding in c.findings]
    for found in (findings(store), quick):
        assert [f.chunk for f in found] == [0, 1, 2]
        assert all(words in f.problem for f, (_, words) in zip(found, expected, strict=True))
        assert [f.rows for f in found] == [(0, 19), (20, 39), (40, 59)]


def test_a_bad_sector_is_a_finding(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = chunk_files(store)[1]
    get = LocalStore.get

    def faulty(self: LocalStore, key: str, span: Any = None) -> bytes:
        if key.endswith(bad.name):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return get(self, key, span)

    monkeypatch.setattr(LocalStore, "get", faulty)
    (found,) = findings(store)
    assert (found.chunk, found.problem) == (1, "cannot be read: Input/output error")


def test_quick_reads_no_chunk(store: LocalStore) -> None:
    for path in chunk_files(store):
        path.write_bytes(bytes(path.stat().st_size))
    manifest = load_version(store).manifest
    assert [c.findings for c in check_sizes(store, manifest)] == [()] * 3


def test_a_chunk_that_the_manifest_contradicts(tmp_path: Path, store: LocalStore) -> None:
    other = write(tmp_path / "other", 7, lambda i: i)
    theirs = load_version(other).manifest.chunks
    manifest = load_version(store).manifest
    chunks = manifest.chunks
    digests, sizes, lead = (np.array(a) for a in (chunks.digests, chunks.sizes, chunks.lead))
    digests[1], sizes[1], lead[1] = theirs.digests[0], theirs.sizes[0], theirs.lead[0]
    lead[2] = 64
    table = replace(chunks, digests=digests, sizes=sizes, lead=lead)
    path = chunk_files(other)[0]
    store.path(f"chunks/{path.name}").write_bytes(path.read_bytes())
    manifest = replace(manifest, chunks=table)
    found = [f for c in check_bytes(store, manifest, threads=1) for f in c.findings]
    assert [(f.chunk, f.problem.split(" ")[0]) for f in found] == [
        (1, "holds"), (1, "its"), (2, "its"),
    ]  # fmt: skip
    assert found[0].problem == "holds 7 rows, the manifest lists 20"
    assert found[1].problem == "its schema is not that of the manifest"
    assert found[2].problem.endswith("the manifest's lead is 64")


def test_a_version_that_does_not_follow_the_one_before(store: LocalStore) -> None:
    add_version(store)
    version = load_version(store)
    assert check_parent(store, version) == ()
    stone = Tombstone(version=1, digest=load_version(store, 1).digest)
    manifest_file(store).write_bytes(stone.to_bytes())
    assert check_parent(store, version) == ()
    stone = Tombstone(version=1, digest="00" * 32)
    manifest_file(store).write_bytes(stone.to_bytes())
    (finding,) = check_parent(store, version)
    assert str(finding).startswith("version 2 says that it follows")
    manifest_file(store).write_bytes(b"")
    assert check_parent(store, version) == ()


def test_a_pruned_version_says_so_and_is_passed_by(store: LocalStore) -> None:
    add_version(store)
    add_version(store)
    digests = [load_version(store, n).digest for n in (1, 2)]
    for n, digest in enumerate(digests, 1):
        manifest_file(store, n).write_bytes(Tombstone(version=n, digest=digest).to_bytes())
    for hint in (b"1\n", b"3\n", b"?"):
        store.put("latest", hint)
        assert load_version(store).manifest.version == 3
    with pytest.raises(DatasetNotFound, match="version 2 was pruned"):
        ms.StreamingDataset(store.root, version=2)
    kinds = [(number, type(past).__name__) for number, past in history(store, 4)]
    assert kinds == [(4, "NoneType"), (3, "Version"), (2, "Tombstone"), (1, "Tombstone")]


def test_mean_sizes(tmp_path: Path, store: LocalStore) -> None:
    manifest = load_version(store).manifest
    sizes = dict(
        zip([f.name for f in manifest.schema.fields], mean_sizes(store, manifest), strict=True)
    )
    assert all(size.exact for size in sizes.values())
    assert sizes["id"].nbytes == 8
    assert sizes["vector"].nbytes == 20
    assert sizes["name"].nbytes == np.mean([len(f"name {i}") for i in range(60)])
    assert sizes["note"].nbytes == np.mean([i % 7 for i in range(60)])
    assert sizes["ragged"].nbytes == 8 * np.mean([i % 3 for i in range(60)])
    for path in chunk_files(store):  # lengths only: a changed value is not even seen
        content = path.read_bytes()
        for offset, _, fields in Places(content).blobs(content):
            if fields == ("name", "note"):
                flip(path, offset + 8)
    assert mean_sizes(store, manifest) == list(sizes.values())
    large = write(tmp_path / "large", 2_000, lambda i: (i, "x" * (i // 100)), chunk_size=300)
    number, text = mean_sizes(large, load_version(large).manifest)
    assert (number.exact, text.exact) == (True, False)
    assert text.nbytes == pytest.approx(9.5, abs=0.1)


@given(st.integers(0, 10**12), st.integers(1, 600))
def test_spread(rows: int, most: int) -> None:
    found = spread(rows, most)
    assert len(found) == min(rows, most)
    if rows:
        assert found[0] == 0
        assert found[-1] == rows - 1 or most == 1
        assert np.diff(found).max(initial=0) <= rows / max(len(found) - 1, 1) + 1
