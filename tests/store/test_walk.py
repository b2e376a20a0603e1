"""walk: os.walk over any place."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import millstream
from millstream.errors import UnsupportedError, UsageError
from millstream.store import Folder, Store, open_store
from millstream.store.memory import MemoryStore

names = st.sampled_from(["a", "b", "a-b", "a.b", "B", "c d"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


def as_lists(place: str | Path) -> list[tuple[str, list[str], list[str]]]:
    return [
        (folder, list(folders), list(files)) for folder, folders, files in millstream.walk(place)
    ]


def by_os_walk(path: Path) -> list[tuple[str, list[str], list[str]]]:
    found = []
    for folder, folders, files in os.walk(path):
        folders.sort()
        found.append((folder, list(folders), sorted(files)))
    return found


@given(st.sets(paths))
def test_a_folder_is_walked_as_by_os_walk(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str]
) -> None:
    root = tmp_path_factory.mktemp("walk")
    for key in keys:
        path = root / key / "file"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert as_lists(root) == by_os_walk(root)
    memory = open_store(f"memory://walk{root}")
    for key in keys:
        memory.put(f"{key}/file", b"")
    base = f"memory://walk{root}"
    expected = [(folder.replace(str(root), base, 1), *rest) for folder, *rest in by_os_walk(root)]
    assert as_lists(base) == expected


def test_links_are_listed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "file")
    (tmp_path / "dead").symlink_to(tmp_path / "nothing")
    assert as_lists(tmp_path) == by_os_walk(tmp_path)
    assert as_lists(tmp_path)[0] == (str(tmp_path), ["a", "loop"], ["dead", "link"])


def test_a_folder_that_is_dropped_is_not_walked_into(tmp_path: Path) -> None:
    for name in ("a/x", "b/y", "c/z"):
        (tmp_path / name).mkdir(parents=True)
    seen = []
    for folder, folders, _ in millstream.walk(tmp_path):
        seen.append(Path(folder).relative_to(tmp_path).as_posix())
        if "b" in folders:
            folders.remove("b")
    assert seen == [".", "a", "a/x", "c", "c/z"]


@pytest.mark.parametrize("kind", ["s3", "gcs", "azure"])
def test_buckets_are_walked(kind: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(f"{kind}_store")
    for key in ("a/b/1", "a/b/2", "a/3", "c d/4", "5"):
        store.put(key, b"")
    options = vars(store)["_options"]
    base = str(store)
    assert list(millstream.walk(base, storage_options=options)) == [
        (base, ["a", "c d"], ["5"]),
        (f"{base}/a", ["b"], ["3"]),
        (f"{base}/a/b", [], ["1", "2"]),
        (f"{base}/c d", [], ["4"]),
    ]


def test_folders_are_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store("memory://walk-at-once")
    for number in range(8):
        store.put(f"{number}/file", b"")
    together = threading.Barrier(8)
    listed = MemoryStore.folder

    def folder(self: MemoryStore, prefix: str) -> Folder:
        if prefix:
            together.wait(timeout=60)  # passes only if all 8 are there
        return listed(self, prefix)

    monkeypatch.setattr(MemoryStore, "folder", folder)
    assert len(list(millstream.walk("memory://walk-at-once", max_workers=8))) == 9


def test_a_walk_that_is_left_leaves_no_thread(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}" / "deep").mkdir(parents=True)
    before = threading.active_count()
    walk = millstream.walk(tmp_path)
    next(walk)
    walk.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_what_cannot_be_walked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(millstream.walk(tmp_path / "missing"))
    with pytest.raises(UnsupportedError, match="cannot list"):
        list(millstream.walk("http://127.0.0.1:1/a"))
    with pytest.raises(UsageError, match="max_workers"):
        millstream.walk(tmp_path, max_workers=0)
    with pytest.raises(UsageError, match="no meaning"):
        millstream.walk(tmp_path, storage_options={"region": "x"})
