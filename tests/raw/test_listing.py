"""What a place holds, as compact arrays: complete, in one order, the same everywhere."""

from __future__ import annotations

import os
import pickle
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.errors import StorageError, UsageError
from millstream.reading.raw.files import Files
from millstream.reading.raw.items import FileMetadata, Items, items_of
from millstream.reading.raw.listing import list_files
from millstream.store import Folder, LocalStore, MemoryStore, ObjectInfo

NAMES = st.text("aZ-.0/é€\U0001f600", min_size=1, max_size=6)
KEYS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


def is_key(key: str) -> bool:
    return all(part not in {"", ".", ".."} for part in key.split("/"))


def shown(key: str) -> bool:
    return not any(part.startswith(".") for part in key.split("/"))


@contextmanager
def memory(objects: dict[str, bytes]) -> Iterator[MemoryStore]:
    store = MemoryStore(f"memory://listing-{uuid.uuid4().hex}")
    for key, content in objects.items():
        store.put(key, content)
    try:
        yield store
    finally:
        for key in objects:
            store.delete(key)


def listed(files: Files) -> list[ObjectInfo]:
    return files.listed(np.arange(len(files)))


@given(st.dictionaries(KEYS.filter(is_key), st.binary(max_size=3), max_size=30))
def test_all_files_are_listed_in_the_order_of_their_bytes(objects: dict[str, bytes]) -> None:
    with memory(objects) as store:
        found = listed(list_files(store))
        known = {info.key: info for info in store.list("")}
    keys = [info.key for info in found]
    marks = {
        key for key in objects if not objects[key] and any(k.startswith(f"{key}/") for k in objects)
    }
    assert keys == sorted(filter(shown, objects.keys() - marks), key=str.encode)
    assert [(i.size, i.tag) for i in found] == [(known[k].size, known[k].tag) for k in keys]
    assert all(info.tag for info in found)


@given(
    st.lists(st.tuples(NAMES, st.integers(0, 1 << 50), st.integers(0, (1 << 64) - 1)), max_size=20),
    st.data(),
)
def test_arrays_give_back_what_went_in(
    rows: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    infos = [
        ObjectInfo(key=key, size=size, modified=0.0, tag=f"{tag:016x}" if tag else "")
        for key, size, tag in rows
    ]
    files = Files.of(infos)
    assert listed(files) == infos
    assert files.nbytes == sum(size for _, size, _ in rows)
    assert listed(pickle.loads(pickle.dumps(files))) == infos
    cut = data.draw(st.integers(0, len(infos)))
    parts = [files.part(0, cut), files.part(cut, len(infos))]
    assert [listed(part) for part in parts] == [infos[:cut], infos[cut:]]
    assert listed(Files.joined(parts)) == infos
    numbers = data.draw(st.lists(st.integers(0, len(infos) - 1), max_size=9)) if infos else []
    chosen = np.array(numbers, np.int64)
    assert files.listed(chosen) == listed(files.take(chosen)) == [infos[n] for n in numbers]


def test_names_that_are_no_utf8_come_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.bin")
    (tmp_path / name).write_bytes(b"content")
    store = LocalStore(tmp_path)
    (found,) = listed(list_files(store))
    assert store.get_listed(found) == b"content"


def test_a_folder_is_listed_without_what_is_hidden(tmp_path: Path) -> None:
    for key in ("a/x", "a/.x", ".git/config", "a/.cache/y", ".DS_Store", "b/empty", "c/d/e"):
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(b"" if key == "b/empty" else b"content")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "a")  # a link to a folder is not followed
    (tmp_path / "link").symlink_to(tmp_path / "a" / "x")
    keys = [info.key for info in listed(list_files(LocalStore(tmp_path)))]
    assert keys == ["a/x", "b/empty", "c/d/e", "link"]


class Deep:
    """A tree whose folders answer only when so many are asked for at once."""

    def __init__(self, together: int) -> None:
        self._together = threading.Barrier(together)

    def folder(self, prefix: str) -> Folder:
        depth = prefix.count("/")
        if depth == 2:
            self._together.wait(timeout=30)
        names = [] if depth == 2 else [f"{n}" for n in range(4)]
        info = ObjectInfo(key=f"{prefix}z", size=1, modified=0.0)
        return Folder(folders=names, objects=[info])


def test_folders_are_listed_at_once_also_below_others() -> None:
    assert len(list_files(Deep(16))) == 1 + 4 + 16


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    class Denied(LocalStore):
        def folder(self, prefix: str) -> Folder:
            if prefix == "b/":
                raise PermissionError(13, "Permission denied")
            return super().folder(prefix)

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(StorageError, match="b/: Permission denied"):
        list_files(Denied(tmp_path))


# Groups -----------------------------------------------------------------------------------------

FILES = Files.of(ObjectInfo(key=f"k{n:02}", size=n, modified=0.0) for n in range(20))


@given(st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=4), min_size=1, max_size=8))
def test_groups_are_what_setup_returned(groups: list[list[int]]) -> None:
    items = items_of("s3://b", FILES, lambda files: [[files[n] for n in group] for group in groups])
    assert len(items) == len(groups)
    for rows in ([0], [len(groups) - 1, 0], list(range(len(groups)))):
        numbers, counts = items.files_of(np.array(rows, np.int64))
        assert counts == [len(groups[row]) for row in rows]
        assert items.files.names(numbers) == [f"k{n:02}" for row in rows for n in groups[row]]
    widths = {len(group) for group in groups}
    assert items.width == (widths.pop() if len(widths) == 1 else None)


def test_setup_gets_the_files_sorted_and_may_choose() -> None:
    seen: list[FileMetadata] = []

    def setup(files: list[FileMetadata]) -> list[FileMetadata]:
        seen.extend(files)
        return [file for file in reversed(files) if file.size % 2]

    items = items_of("s3://b/p/", FILES, setup)
    assert seen == [FileMetadata(path=f"s3://b/p/k{n:02}", size=n) for n in range(20)]
    assert items.ends is None
    assert items.files.names(np.arange(len(items))) == [f"k{n:02}" for n in range(19, 0, -2)]


OTHER = FileMetadata(path="s3://b/other", size=1)


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        (lambda files: [], "left none of the 20 files"),
        (lambda files: [files[0], files[:2]], "a list as item 1"),
        (lambda files: [files[:2], files[0]], "a FileMetadata as item 1"),
        (lambda files: [files[:2], []], "an empty list as item 1"),
        (lambda files: [file.path for file in files], "a str as item 0"),
        (lambda files: [files[0], OTHER], "'s3://b/other' in item 1, which is none of the files"),
        (lambda files: [[files[0], "k01"]], "'k01' in item 0"),
    ],
)
def test_what_setup_must_not_return(setup: object, said: str) -> None:
    assert callable(setup)
    with pytest.raises(UsageError, match=said):
        items_of("s3://b", FILES, setup)


def test_the_digest_names_the_files_their_order_and_their_groups() -> None:
    infos = [ObjectInfo(key=f"k{n}", size=n, modified=float(n), tag=f"{n:016x}") for n in range(6)]

    def digest(*found: ObjectInfo, ends: list[int] | None = None) -> str:
        groups = None if ends is None else np.array(ends, np.int64)
        return Items(files=Files.of(found), ends=groups).named("a place")

    first = infos[0]
    variants = [
        digest(*infos),
        digest(*infos[1:]),
        digest(*infos[::-1]),
        digest(ObjectInfo(key="k", size=0, modified=0.0), *infos[1:]),
        digest(ObjectInfo(key=first.key, size=9, modified=0.0, tag=first.tag), *infos[1:]),
        digest(ObjectInfo(key=first.key, size=0, modified=0.0, tag="f" * 16), *infos[1:]),
        digest(*infos, ends=[1, 2, 3, 4, 5, 6]),
        digest(*infos, ends=[2, 4, 6]),
        digest(*infos, ends=[3, 6]),
    ]
    assert len(set(variants)) == len(variants)
    told = [ObjectInfo(key=i.key, size=i.size, modified=9.0, tag=i.tag) for i in infos]
    assert digest(*told) == variants[0]
