"""Workers that were taken for dead and are not: what they still write harms nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from format.test_chunk_laws import encode

from millstream.encryption.library import Aes
from millstream.format import Identity, assemble
from millstream.store import LocalStore, MemoryStore
from millstream.writing.gather import Room
from millstream.writing.local_job import LocalChunks
from millstream.writing.made import BucketMade, FolderMade, MadeFiles
from millstream.writing.segments import BucketSegments
from millstream.writing.temporary import RunTemporary


def test_a_chunk_that_two_workers_write_is_whole_when_it_has_its_name(tmp_path: Path) -> None:
    store, temporary = LocalStore(tmp_path / "out"), tmp_path / "temporary"
    temporary.mkdir()
    chunks = LocalChunks(store, tmp_path, temporary)
    found = []

    def late() -> Iterator[memoryview]:
        chunks.settle("d1")
        found.append(store.get("chunks/d1"))
        yield memoryview(b"all of it")

    chunks.put("d1", [memoryview(b"all of it")])
    chunks.put("d1", late())
    assert found == [b"all of it"]
    assert store.get("chunks/d1") == b"all of it"


def test_two_workers_record_one_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = LocalChunks(LocalStore(tmp_path), tmp_path, tmp_path)
    write = Path.write_bytes

    def overtaken(path: Path, content: bytes) -> int:
        written = write(path, content)
        if content == b"late":
            chunks.record(3, b"sooner")
        return written

    monkeypatch.setattr(Path, "write_bytes", overtaken)
    chunks.record(3, b"late")
    assert [path.name for path in tmp_path.iterdir()] == ["000003.json"]
    assert (tmp_path / "000003.json").read_bytes() == b"late"


@pytest.mark.parametrize("key", [None, bytes(32)], ids=["plain", "encrypted"])
@pytest.mark.parametrize("ends", [True, False])
def test_a_segment_in_a_bucket_is_that_of_one_worker(
    tmp_path: Path, key: bytes | None, ends: bool
) -> None:
    """One that is late, or is killed before it has said that it is done."""

    class Store(MemoryStore):
        is_killed = False

        def put(self, key: str, content: Any) -> None:
            if self.is_killed and key.endswith("outline"):
                raise InterruptedError
            super().put(key, content)

    store = Store(uuid.uuid4().hex)
    places = BucketSegments(store, "segments/", RunTemporary(tmp_path), Room())
    cipher = None if key is None else Aes.of(key)

    def work(word: bytes) -> None:
        with places.writer(3, cipher) as writer:
            writer.add(encode([{"x": word * 50}]))
            writer.finish([], 0)
            places.keep(writer)

    work(b"mine")
    if ends:
        work(b"the other's")
    else:
        store.is_killed = True
        with pytest.raises(InterruptedError):
            work(b"the other's")
    (part,) = places.read({3: {0}}, cipher)[3].parts
    identity = Identity(job=bytes(16), sequence=0)
    written = encode([{"x": (b"the other's" if ends else b"mine") * 50}])
    made, wanted = (list(map(bytes, assemble([p], identity).pieces)) for p in (part, written))
    assert made == wanted
    places.drop([3])
    assert list(store.list("")) == []


# Of map ----------------------------------------------------------------------------------------


def folder_made(tmp_path: Path, store: Any) -> FolderMade:
    (folder := tmp_path / "segments").mkdir()
    (temporary := tmp_path / "temporary").mkdir()
    return FolderMade(store=store, folder=folder, temporary=temporary)


def make(files: MadeFiles, content: bytes) -> None:
    with files.private() as private:
        (private / "a.bin").write_bytes(content)
        files.keep(3, 12, private)


def test_two_workers_make_the_files_of_one_input(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "out")
    files = folder_made(tmp_path, store)
    make(files, b"first")
    make(files, b"late")
    files.place(3, files.kept(3, [12]))
    assert store.get("a.bin") == b"first"
    assert files.kept(3, [12]) == []
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_two_workers_put_files_into_their_places(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one does all of it right before this one's first step."""
    files: MadeFiles
    if where == "folder":
        store: Any = LocalStore(tmp_path / "out")
        files, step = folder_made(tmp_path, store), "link"
    else:
        store, step = MemoryStore(uuid.uuid4().hex), "copy"
        files = BucketMade(store=store, prefix="segments/", temporary=RunTemporary(tmp_path))
    make(files, b"content")
    made = files.kept(3, [12])
    kind, original = type(store), getattr(type(store), step)

    def overtaken(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        files.place(3, made)
        return original(*arguments, **options)

    monkeypatch.setattr(kind, step, overtaken)
    files.place(3, made)
    assert store.get("a.bin") == b"content"
    assert files.kept(3, [12]) == []
