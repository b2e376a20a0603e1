"""Jobs whose workers share no disk with the one who runs them: the bytes are those of any other.

What workers leave for each other lies in the bucket then, and nothing of it stays.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from apart import Apart
from buckets import Bucket
from datasets import everything
from encryption.kinds import aes, fernet
from format.test_chunk_laws import encode
from hypothesis import given
from hypothesis import strategies as st
from jobs import columns, dataset, document, sample
from strategies import rows

import millstream as ms
from millstream import errors
from millstream.encryption.library import Aes
from millstream.format import Identity, Part, assemble
from millstream.store import MemoryStore, open_store
from millstream.writing import rows as writing_rows
from millstream.writing.gather import Room
from millstream.writing.segment import SegmentWriter, Skipped
from millstream.writing.segment_reading import Outline, read_segment
from millstream.writing.segments import BucketSegments
from millstream.writing.temporary import NodeTemporary, RunTemporary

pytestmark = pytest.mark.timeout(200)


# Outlines --------------------------------------------------------------------------------------


def content(part: Part) -> list[bytes]:
    return list(map(bytes, assemble([part], Identity(job=bytes(16), sequence=0)).pieces))


@given(
    data=st.data(),
    parts=rows(max_size=5).map(lambda samples: [encode(samples)] * 2 + [encode(samples[:1])]),
    key=st.none() | st.binary(min_size=32, max_size=32),
)
def test_an_outline_and_some_spans_are_the_segment(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, parts: list, key: bytes | None
) -> None:
    path = tmp_path_factory.mktemp("segment") / "000007"
    cipher = None if key is None else Aes.of(key)
    with SegmentWriter(path, path.name, cipher) as writer:
        for part in parts:
            writer.add(part)
        writer.finish([Skipped(input=2, error="no", kept=1)], 4)
        outline = Outline("000007", writer.outline(), cipher)
        whole, bare = read_segment(path, cipher, range(3)), outline.segment()
        said = ("nbytes", "skipped", "first_input", "schema")
        assert all(getattr(bare, name) == getattr(whole, name) for name in said)
        assert bare.held == len(writer.outline())  # in memory, and no disk
        for part, other in zip(bare.parts, whole.parts, strict=True):
            assert part.rows == other.rows
            assert not any(arrays.data.any() for arrays in part.arrays.values())
        wanted = data.draw(st.sets(st.integers(0, 2), min_size=1))
        bytes_of = memoryview(path.read_bytes())
        spans = [(start, bytes_of[start:stop]) for start, stop in outline.spans(wanted)]
        joined = outline.join(data.draw(st.permutations(spans)), wanted)
        for number in wanted:
            assert content(joined.parts[number]) == content(whole.parts[number])


def test_only_the_parts_that_are_wanted_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millstream.writing.segments.RANGE_BYTES", 1_000)
    asked = []

    class Counting(MemoryStore):
        def get(self, key: str, span: Any = None) -> Any:
            asked.append((key, span))
            return super().get(key, span)

    places = BucketSegments(Counting(uuid.uuid4().hex), "segments/", RunTemporary(tmp_path), Room())
    parts = [encode([{"x": bytes([n]) * 2_500}]) for n in range(4)]
    with places.writer(3, None) as writer:
        for part in parts:
            writer.add(part)
        writer.finish([], 0)
        places.keep(writer)
    assert list(tmp_path.iterdir()) == []
    found = places.read({3: {1, 2}}, None)
    assert [content(found[3].parts[n]) for n in (1, 2)] == list(map(content, parts[1:3]))
    spans = [span for key, span in asked if span is not None]
    assert 2 * 2_500 <= sum(stop - start for start, stop in spans) <= 2 * 2_600
    assert max(stop - start for start, stop in spans) == 1_000
    places.drop(range(5))
    assert list(places.store.list("")) == []


# Jobs ------------------------------------------------------------------------------------------


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (sample, {}),
    "tokens": (document, {"item_loader": ms.TokensLoader(), "chunk_bytes": "4KB"}),
    "batched": (columns, {"batched": True}),
    "compressed": (sample, {"compression": "zstd"}),
}


def write(place: Any, fn: Any, inputs: Any = range(300), **options: Any) -> Any:
    given = {"num_workers": 0, "chunk_bytes": "6KB", "verbose": False, **options}
    return ms.optimize(fn, inputs, place, **given)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_are_those_of_a_local_run(
    bucket: Bucket,
    scratch: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    workers: int,
) -> None:
    monkeypatch.setattr(writing_rows, "PART_BYTES", 1_500)  # several parts a segment
    monkeypatch.setenv("TMPDIR", str(scratch))  # of the workers
    fn, options = KINDS[kind]
    write(tmp_path / "local", fn, **options)
    apart = Apart(workers)
    write(bucket.url, fn, storage_options=bucket.options, executor=apart, **options)
    write(tmp_path / "shared", fn, executor=apart, **options)
    local = dataset(everything(tmp_path / "local"))
    assert len(local) > 6
    assert bucket.objects() == local
    assert dataset(everything(tmp_path / "shared")) == local
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("encryption", [fernet(), aes("chunk")], ids=["fernet", "aes by chunk"])
def test_what_workers_leave_is_encrypted(
    bucket: Bucket, scratch: Path, monkeypatch: pytest.MonkeyPatch, encryption: Any
) -> None:
    seen: list[bytes] = []
    keep = BucketSegments.keep

    def kept(self: BucketSegments, writer: SegmentWriter) -> bytes:
        seen.append(writer.path.read_bytes())
        return keep(self, writer)

    monkeypatch.setattr(BucketSegments, "keep", kept)
    options = {"storage_options": bucket.options, "encryption": encryption}
    write(bucket.url, lambda i: f"a secret {i}", range(40), executor=Apart(), **options)
    assert len(seen) == 40
    assert not any(b"secret" in some for some in seen)
    dataset = ms.StreamingDataset(bucket.url, **options)
    assert dataset[:] == [f"a secret {i}" for i in range(40)]


def test_files_that_are_inputs_are_read_where_chunks_are_built(
    bucket: Bucket, scratch: Path, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    names = [str(tmp_path / "files" / f"{n}.bin") for n in range(30)]
    for n, name in enumerate(names):
        Path(name).write_bytes(bytes([n]) * 700)
    write(bucket.url, ms.File, names, storage_options=bucket.options, executor=Apart(2))
    dataset = ms.StreamingDataset(bucket.url, storage_options=bucket.options)
    assert [dataset[n] for n in range(30)] == [bytes([n]) * 700 for n in range(30)]


def test_what_a_run_left_in_the_bucket_is_gone_on_with_from_anywhere(
    bucket: Bucket, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, calls = tmp_path / "stop", tmp_path / "calls"
    stop.touch()

    def fn(i: int) -> bytes:
        with calls.open("a") as file:
            file.write(f"{i}\n")
        if i == 25 and stop.exists():
            raise OSError("no")
        return b"x" * 300

    options = {"storage_options": bucket.options, "executor": Apart(), "chunk_bytes": "3KB"}
    with pytest.raises(errors.FunctionError):
        write(bucket.url, fn, range(40), **options)
    segments = [info.key for info in bucket.store.list(".job/segments/")]
    assert segments
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    stop.unlink()
    write(bucket.url, fn, range(40), **options)
    assert sorted(map(int, calls.read_text().split())) == sorted([*range(40), 25])
    assert not any(key.startswith(".job") for key in bucket.objects())
    assert [path.name for path in elsewhere.rglob("*") if path.is_file()] == []


def test_segments_go_as_chunks_come(bucket: Bucket, scratch: Path) -> None:
    most = []

    def fn(i: int) -> bytes:
        store = open_store(bucket.url, bucket.options)
        most.append(sum(info.size for info in store.list(".job/segments/")))
        return b"x" * 1_000

    write(
        bucket.url, fn, range(200), chunk_bytes="10KB", storage_options=bucket.options,
        executor=Apart(),
    )  # fmt: skip
    assert len(most) == 200
    assert max(most) < 60_000  # of 200,000


def test_a_folder_that_a_worker_does_not_see_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = NodeTemporary.open
    monkeypatch.setattr(
        NodeTemporary, "open", lambda self: opened(NodeTemporary(tmp_path / "elsewhere"))
    )
    with pytest.raises(errors.UnsupportedError, match="needs an output that all of them see"):
        write(tmp_path / "out", sample, executor=Apart())


def test_folders_of_killed_workers_are_removed_by_the_next(scratch: Path) -> None:
    with NodeTemporary(None).open() as mine:
        (mine / "file").touch()
        gone = mine.parent / "left-by-a-killed-one"
        gone.mkdir()
        (gone / "file").touch()
        with NodeTemporary(None).open() as other:
            assert mine.exists()
            assert other != mine
            assert not gone.exists()
    assert not mine.parent.exists()


def test_a_temporary_folder_that_is_gone_ends_in_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(errors.StorageError, match="millstream-tasks"), NodeTemporary(None).open():
        pass


# Maps ------------------------------------------------------------------------------------------


def files_of(i: int, output_dir: str) -> None:
    if i % 7 == 3:
        raise ValueError("this one fails")
    Path(output_dir, f"{i}.txt").write_text("x" * i)
    (deep := Path(output_dir, "deep", f"{i % 4}")).mkdir(parents=True)
    (deep / f"{i}.bin").write_bytes(bytes(i))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_map_leaves_the_files_of_a_local_one(
    bucket: Bucket, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("TMPDIR", str(scratch))
    options = {"on_error": "skip", "verbose": False}
    ms.map(files_of, range(60), tmp_path / "local", num_workers=0, **options)
    far = {**options, "executor": Apart(workers)}
    report = ms.map(files_of, range(60), bucket.url, storage_options=bucket.options, **far)
    assert [some.input for some in report.skipped] == list(range(3, 60, 7))
    ms.map(files_of, range(60), tmp_path / "shared", **far)

    def files(found: dict[str, bytes]) -> dict[str, bytes]:
        return {name: content for name, content in found.items() if not name.startswith(".map")}

    local = files(everything(tmp_path / "local"))
    assert len(local) == 2 * 51
    assert files(bucket.objects()) == files(everything(tmp_path / "shared")) == local
    assert not any("/segments/" in key for key in bucket.objects())
    assert [path for path in scratch.rglob("*") if path.is_file()] == []


def test_a_map_that_two_inputs_quarrel_in_keeps_the_first(bucket: Bucket, scratch: Path) -> None:
    def fn(i: int, output_dir: str) -> None:
        Path(output_dir, "same.txt").write_text(f"{i}")

    with pytest.raises(errors.OutputNotEmpty, match=r"both write same.txt"):
        ms.map(
            fn, range(2), bucket.url, storage_options=bucket.options, executor=Apart(),
            verbose=False,
        )  # fmt: skip
    assert bucket.store.get("same.txt") == b"0"
