"""Files as values: the same bytes as if fn had read them, and each is written down once."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kills import tree
from PIL import Image as Pillow
from servers.http import HTTPServer
from small_reader import small_dataset

import millstream as ms
from millstream import errors
from millstream.writing import gather, tasks
from millstream.writing.rows import SampleRows

pytestmark = pytest.mark.timeout(200)

COUNT = 24


def picture(n: int) -> bytes:
    content = io.BytesIO()
    Pillow.new("RGB", (8 + n, 8), (n, 2 * n, 99)).save(content, "JPEG")
    return content.getvalue() + bytes(500 * (n % 5))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("files")
    for n in range(COUNT):
        (folder / f"{n}.jpg").write_bytes(picture(n))
    return [str(folder / f"{n}.jpg") for n in range(COUNT)]


def write(folder: Path, fn: Any, inputs: Any, **options: Any) -> Any:
    options = {"num_workers": 0, "verbose": False, "chunk_bytes": "20KB", **options}
    return ms.optimize(fn, inputs, folder, **options)


def bodies(folder: Path) -> set[bytes]:
    """The chunks, without the 64 bytes that say which job they are of."""
    return {path.read_bytes()[64:] for path in (folder / "chunks").iterdir()}


def as_image(path: str) -> Any:
    return {"image": Pillow.open(path), "caption": path}


def as_pixels_known(path: str) -> Any:
    image = Pillow.open(path)
    image.load()
    return {"image": image, "caption": path}


def as_jpeg(path: str) -> Any:
    return {"image": ms.Jpeg(path=path), "caption": path}


def as_any_image(path: str) -> Any:
    return {"image": ms.Image(path=path), "caption": path}


def as_bytes(path: str) -> Any:
    return {"image": ms.Jpeg(bytes=Path(path).read_bytes()), "caption": path}


@pytest.fixture
def referred(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were left where they are; as far as this process does the work."""
    found = []
    may_refer = SampleRows._may_refer

    def noting(self: SampleRows, source: Any) -> bool:
        if allowed := may_refer(self, source):
            found.append(source.path)
        return allowed

    monkeypatch.setattr(SampleRows, "_may_refer", noting)
    return found


# Who opens an image in fn leaves it to Pillow to close it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fn", [as_image, as_pixels_known, as_jpeg, as_any_image])
def test_an_image_gives_the_bytes_of_its_file(
    tmp_path: Path, paths: list[str], fn: Any, referred: list[str]
) -> None:
    write(tmp_path / "read", as_bytes, paths)
    assert referred == []
    report = write(tmp_path / "named", fn, paths)
    assert referred == paths
    assert bodies(tmp_path / "named") == bodies(tmp_path / "read")
    assert report.chunks > 2
    write(tmp_path / "by two", fn, paths, num_workers=2)
    assert tree(tmp_path / "by two") == tree(tmp_path / "named")


def test_any_file_is_bytes(tmp_path: Path, paths: list[str], referred: list[str]) -> None:
    inputs = [(Path(path), n) for n, path in enumerate(paths)]
    write(tmp_path / "d", lambda pair: (pair[1], ms.File(pair[0]), ms.File(pair[0])), inputs)
    assert referred == [path for path in paths for _ in range(2)]
    expected = [(n, picture(n), picture(n)) for n in range(COUNT)]
    assert list(small_dataset(tmp_path / "d")) == expected
    assert list(ms.StreamingDataset(tmp_path / "d")) == expected


def test_text_is_never_a_path(tmp_path: Path, paths: list[str], referred: list[str]) -> None:
    write(tmp_path / "d", lambda path: path, paths)
    assert list(ms.StreamingDataset(tmp_path / "d")) == paths
    assert referred == []


def test_a_file_that_is_no_input_is_read_at_once(tmp_path: Path, referred: list[str]) -> None:
    def fn(n: int) -> Iterator[Any]:
        path = tmp_path / "reused"
        path.write_bytes(b"%d" % n)
        yield ms.File(path)
        path.unlink()

    write(tmp_path / "d", fn, range(5))
    assert list(ms.StreamingDataset(tmp_path / "d")) == [b"%d" % n for n in range(5)]
    assert referred == []


def test_a_fetched_file_is_read_before_it_goes(
    tmp_path: Path, paths: list[str], referred: list[str]
) -> None:
    with HTTPServer(Path(paths[0]).parent) as server:
        write(tmp_path / "d", ms.File, [f"{server.url}/{n}.jpg" for n in range(3)])
    assert list(ms.StreamingDataset(tmp_path / "d")) == [picture(n) for n in range(3)]
    assert referred == []


def test_of_a_list_of_inputs_each_file_is_one(
    tmp_path: Path, paths: list[str], referred: list[str]
) -> None:
    def fn(some: list[str]) -> Any:
        for path in some:
            assert type(path) is str
            yield ms.File(path)

    write(tmp_path / "a", fn, paths[:10], batch_size=4)
    write(tmp_path / "a", fn, paths[10:], batch_size=4, mode="append")
    assert referred == paths
    contents = [Path(path).read_bytes() for path in paths]
    assert list(ms.StreamingDataset(tmp_path / "a")) == contents
    # Those that were fetched are not there for long.
    referred.clear()
    with HTTPServer(Path(paths[0]).parent) as server:
        urls = [f"{server.url}/{n}.jpg" for n in range(9)]
        write(tmp_path / "b", fn, [*urls, paths[9]], batch_size=4)
    assert referred == [paths[9]]
    assert list(ms.StreamingDataset(tmp_path / "b")) == contents[:10]


def test_each_file_is_read_once_and_written_once(
    tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    read: list[str] = []
    plain_open, plain_read = os.open, gather.read_file

    def open_noting(path: Any, *rest: Any, **options: Any) -> int:
        opened.append(os.fspath(path))
        return plain_open(path, *rest, **options)

    def read_noting(source: Any, into: memoryview) -> None:
        read.append(source.path)
        plain_read(source, into)

    segments = tmp_path / "d/.job/segments"
    sizes: dict[str, int] = {}
    plain_assemble = gather.gather

    def noting_segments(*given: Any) -> Any:
        sizes.update({path.name: path.stat().st_size for path in segments.iterdir()})
        return plain_assemble(*given)

    monkeypatch.setattr(gather, "read_file", read_noting)
    monkeypatch.setattr(os, "open", open_noting)
    monkeypatch.setattr("millstream.writing.work.gather", noting_segments)
    report = write(tmp_path / "d", as_jpeg, paths, chunk_bytes=None)
    assert sorted(read) == sorted(paths)
    # Once for its first bytes, when fn names it; once for all of them.
    assert sorted(path for path in opened if path in paths) == sorted(paths * 2)
    assert len(sizes) == COUNT
    assert sum(sizes.values()) < COUNT * 1_000 < report.bytes


@pytest.mark.parametrize("change", ["longer", "touched", "gone"])
def test_a_file_that_changed_is_an_error_that_names_it(
    tmp_path: Path, paths: list[str], change: str
) -> None:
    mine = [tmp_path / f"{n}.jpg" for n in range(3)]
    for path, content in zip(mine, map(picture, range(3)), strict=True):
        path.write_bytes(content)

    def fn(path: Path) -> Any:
        if path == mine[2]:
            if change == "longer":
                mine[1].write_bytes(picture(1) + b"more")
            elif change == "touched":
                os.utime(mine[1], ns=(1, 1))
            else:
                mine[1].unlink()
        return ms.Jpeg(path=path)

    with pytest.raises(errors.StorageError, match=r"1\.jpg, an input, is not what it was"):
        write(tmp_path / "d", fn, mine)
    assert not (tmp_path / "d/versions").exists()


def test_a_stopped_job_goes_on_with_the_files(
    tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MAX_TASKS", 8)
    write(tmp_path / "whole", as_stopping, paths)
    os.environ["STOP"] = "1"
    try:
        with pytest.raises(errors.FunctionError):
            write(tmp_path / "d", as_stopping, paths)
    finally:
        del os.environ["STOP"]
    assert list((tmp_path / "d/.job/segments").iterdir()) != []
    write(tmp_path / "d", as_stopping, paths)
    assert tree(tmp_path / "d") == tree(tmp_path / "whole")


def as_stopping(path: str) -> Any:
    if path.endswith("20.jpg") and "STOP" in os.environ:
        raise ValueError("stop here")
    return ms.File(path)


def test_a_chunk_too_large_for_memory_is_put_together_on_the_disk(
    tmp_path: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "memory", ms.File, paths)
    rooms = []
    plain = gather._file_room
    monkeypatch.setattr(gather, "KEPT_BYTES", 5_000)
    monkeypatch.setattr(gather, "_file_room", lambda *given: rooms.append(given) or plain(*given))
    write(tmp_path / "disk", ms.File, paths)
    assert len(rooms) > 1
    assert bodies(tmp_path / "disk") == bodies(tmp_path / "memory")


def test_an_empty_file_is_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    write(tmp_path / "d", ms.File, [tmp_path / "empty"])
    assert list(ms.StreamingDataset(tmp_path / "d")) == [b""]


def test_what_is_no_image_names_its_input(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"words")
    with pytest.raises(errors.FunctionError, match=r"input 0(.|\n)*neither a JPEG nor a PNG"):
        write(tmp_path / "d", lambda path: ms.Image(path=path), [tmp_path / "a.png"])
