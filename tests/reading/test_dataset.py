"""StreamingDataset: what was written comes back, by index, by stream, by batch."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from scripts import SOURCE, start
from small_reader import small_dataset
from strategies import rows, same

import millstream as ms
from millstream import errors
from millstream.reading.dataset import stream_of


def write(folder: Path, samples: list[Any], chunk_bytes: str = "4KB", **options: Any) -> Path:
    ms.optimize(
        samples.__getitem__,
        range(len(samples)),
        folder,
        num_workers=0,
        chunk_bytes=chunk_bytes,
        verbose=False,
        **options,
    )
    return folder


def make(i: int) -> dict[str, Any]:
    return {
        "id": i,
        "meta": {"w": i % 5, "t": f"t{i}"},
        "v": np.arange(3.0) + i,
        "r": np.ones(i % 3),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "d", [make(i) for i in range(300)])


def ids(samples: Any) -> list[int]:
    return [sample["id"] for sample in samples]


@settings(max_examples=40)
@given(rows(max_size=8))
def test_what_is_written_comes_back(samples: list[Any]) -> None:
    # A sample that is None means "no sample".
    samples = [sample for sample in samples if sample is not None]
    if not samples:
        return
    with tempfile.TemporaryDirectory() as place:
        folder = write(Path(place) / "d", samples)
        found = ms.StreamingDataset(folder)[:]
        assert len(found) == len(samples)
        assert all(map(same, found, samples))
        assert all(map(same, small_dataset(folder), samples))


def test_as_a_sequence(folder: Path) -> None:
    ds = ms.StreamingDataset(folder)
    assert len(ds) == 300
    assert same(ds[7], make(7))
    assert same(ds[-1], make(299))
    assert same(ds[np.int64(299)], make(299))
    assert ids(ds[10:20:3]) == [10, 13, 16, 19]
    assert ids(ds[-3:]) == [297, 298, 299]
    assert ids(ds[[250, 3, 3, -1]]) == [250, 3, 3, 299]
    assert ids(ds[np.array([4, 2])]) == [4, 2]
    assert ds[[]] == ds[5:5] == []
    for index in (300, -301, [0, 300]):
        with pytest.raises(IndexError, match="300 samples"):
            ds[index]
    for index in ("a", 1.5, [1.5], [[1]]):
        with pytest.raises(errors.UsageError):
            ds[index]


def test_repr_says_what_and_how_much(folder: Path) -> None:
    text = repr(ms.StreamingDataset(folder))
    assert all(
        word in text for word in (str(folder), "300 samples", "kB in ", "meta.t: str", "version 1")
    )


def test_iteration(folder: Path) -> None:
    assert ids(ms.StreamingDataset(folder)) == list(range(300))
    shuffled = ms.StreamingDataset(folder, shuffle=True)
    first, second = ids(shuffled), ids(shuffled)
    assert sorted(first) == sorted(second) == list(range(300))
    assert first != second
    shuffled.set_epoch(0)
    assert ids(shuffled) == first == ids(ms.StreamingDataset(folder, shuffle=True))
    assert ids(ms.StreamingDataset(folder, shuffle=True, seed=1)) != first


def test_fields_reads_only_these(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from millstream.format import ChunkView

    read: list[int] = []
    payloads = ChunkView.payloads
    monkeypatch.setattr(
        ChunkView,
        "payloads",
        lambda self, fields, row: read.extend(fields) or payloads(self, fields, row),
    )
    assert ms.StreamingDataset(folder, fields=["id"])[4] == {"id": 4}
    assert ms.StreamingDataset(folder, fields=["meta.w", "id"])[4] == {"id": 4, "meta": {"w": 4}}
    assert read == []
    assert ms.StreamingDataset(folder, fields=["meta"])[4] == {"meta": {"t": "t4", "w": 4}}
    assert len(read) == 1
    for wrong in (["nothing"], [], "id", ["met"]):
        with pytest.raises(errors.UsageError):
            ms.StreamingDataset(folder, fields=wrong)


# Files that a user opened are the user's to close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_decode(tmp_path: Path) -> None:
    import torch

    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(pixels).save(tmp_path / "a.png")

    def fn(i: int) -> dict[str, Any]:
        return {
            "jpeg": Image.open(tmp_path / "a.jpg"),
            "png": Image.open(tmp_path / "a.png"),
            "pil": Image.fromarray(pixels),
            "small": _thumbnail(tmp_path / "a.jpg"),
            "tensor": torch.arange(3, dtype=torch.bfloat16),
            "array": pixels,
            "raw": b"abc",
            "n": 5,
        }

    ms.optimize(fn, range(3), tmp_path / "d", num_workers=0, verbose=False)
    kinds = {f.name: f.kind for f in stream_of(ms.StreamingDataset(tmp_path / "d")).source.fields}
    assert (kinds["jpeg"], kinds["png"], kinds["pil"], kinds["small"]) == (
        "jpeg",
        "png",
        "pil",
        "pil",
    )
    plain = ms.StreamingDataset(tmp_path / "d")[1]
    assert plain["jpeg"].size == (30, 20)
    assert np.array_equal(np.array(plain["pil"]), pixels)
    assert np.array_equal(np.array(plain["png"]), pixels)
    assert plain["small"].size == (10, 7)
    assert torch.equal(plain["tensor"], torch.arange(3, dtype=torch.bfloat16))

    def get(**decode: Any) -> Any:
        return ms.StreamingDataset(tmp_path / "d", decode=decode)[1]

    assert get(jpeg="bytes")["jpeg"] == (tmp_path / "a.jpg").read_bytes()
    assert get(png="bytes")["png"] == (tmp_path / "a.png").read_bytes()
    assert np.array_equal(get(pil="numpy")["pil"], pixels)
    assert torch.equal(get(pil="torch")["pil"], torch.from_numpy(pixels).permute(2, 0, 1))
    assert torch.equal(get(array="torch")["array"], torch.from_numpy(pixels))
    assert get(tensor="numpy")["tensor"].tolist() == [0, 0x3F80, 0x4000]
    assert get(raw=len)["raw"] == 3
    assert get(raw="numpy")["raw"].tolist() == [97, 98, 99]
    assert get(n="numpy")["n"].dtype == np.int64
    for wrong in ({"n": "pil"}, {"raw": "pil"}, {"none": "bytes"}, {"array": len}):
        with pytest.raises(errors.UsageError):
            get(**wrong)


def _thumbnail(path: Path) -> Any:
    image = Image.open(path)
    image.thumbnail((10, 10))  # in place: it is its file no longer
    return image


def test_transforms(folder: Path) -> None:
    def draw(sample: Any, rng: Any) -> Any:
        return sample["id"], int(rng.integers(1 << 40))

    ds = ms.StreamingDataset(folder, shuffle=True, transform=draw)
    first, again = list(ds), list(ms.StreamingDataset(folder, shuffle=True, transform=draw))
    assert first == again
    assert len({number for _, number in first}) == 300
    assert ds[5] == ds[5] == ds[5:6][0] != ds[6]
    steps = [lambda s: s["id"], lambda i: i + 1, str]
    assert ms.StreamingDataset(folder, transform=steps)[41] == "42"
    with pytest.raises(errors.UsageError):
        ms.StreamingDataset(folder, transform=[3])


class Doubled(ms.StreamingDataset):
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return super().__getitem__(index)
        return 2 * super().__getitem__(index)["id"]


def test_an_overridden_getitem_is_used_everywhere(folder: Path) -> None:
    ds = Doubled(folder)
    assert ds[3] == 6
    assert ds[3:5] == [6, 8]
    assert list(ds) == [2 * i for i in range(300)]
    part = Doubled(folder, subsample=0.1, shuffle=True)
    assert sorted(part) == sorted(part[i] for i in range(30))


def test_subsample(folder: Path) -> None:
    part = ms.StreamingDataset(folder, subsample=0.1)
    assert len(part) == 30 == len(set(ids(part)))
    assert ids(part) == ids(part[:]) == sorted(ids(part))
    more = ms.StreamingDataset(folder, subsample=2.5, shuffle=True)
    assert len(more) == 750
    assert sorted(np.bincount(ids(more)).tolist()) == [2] * 150 + [3] * 150


def test_it_pickles_and_stays_on_its_version(folder: Path) -> None:
    ds = pickle.loads(pickle.dumps(ms.StreamingDataset(folder, shuffle=True, fields=["id"])))
    assert ds[3] == {"id": 3}
    assert ids(ds) == ids(ms.StreamingDataset(folder, shuffle=True))
    assert len(pickle.dumps(ds)) < 5_000


def test_numpy_batches(folder: Path) -> None:
    ds = ms.StreamingDataset(folder, shuffle=True)
    run = ds.batches(64)
    found = list(run)
    assert [len(batch["id"]) for batch in found] == [64, 64, 64, 64, 44]
    assert found[0]["v"].shape == (64, 3)
    assert isinstance(found[0]["r"], list)
    assert found[0]["meta"]["w"].dtype == np.int64
    everything = np.concatenate([batch["id"] for batch in found])
    assert everything.tolist() == ids(ms.StreamingDataset(folder, shuffle=True))
    ranks = [list(ds.batches(7, rank=r, ranks=3, drop_last=False)) for r in range(3)]
    both = np.concatenate([batch["id"] for rank in ranks for batch in rank])
    assert sorted(both.tolist()) == list(range(300))
    resumed = ds.batches(64)
    for number, _ in enumerate(resumed):
        if number == 1:
            break
    later = ds.batches(100)
    later.load_state_dict(resumed.state_dict())
    assert np.concatenate([b["id"] for b in later]).tolist() == everything[128:].tolist()


def test_without_torch_or_pillow(folder: Path) -> None:
    code = f"""
import sys
sys.modules["torch"] = sys.modules["PIL"] = None
import millstream as ms
ds = ms.StreamingDataset({str(folder)!r}, shuffle=True)
print(sum(batch["id"].sum() for batch in ds.batches(50)), ds[3]["id"])
"""
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{sum(range(300))} 3\n"


def test_a_flipped_byte_names_chunk_and_row(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", [{"t": f"text number {i}"} for i in range(50)], "1MB")
    chunk = next((folder / "chunks").iterdir())
    content = bytearray(chunk.read_bytes())
    content[content.index(b"text number 31")] ^= 1
    chunk.write_bytes(content)
    ds = ms.StreamingDataset(folder)
    assert ds[30]["t"] == "text number 30"
    with pytest.raises(errors.CorruptData, match=rf"{chunk.name}, row 31"):
        ds[31]
    assert ms.StreamingDataset(folder, verify=False)[31]["t"] != "text number 31"


def test_what_lies_there_is_no_dataset(tmp_path: Path, folder: Path) -> None:
    for place in (tmp_path, tmp_path / "none", __file__):
        with pytest.raises(FileNotFoundError):
            ms.StreamingDataset(place)
    with pytest.raises(errors.DatasetNotFound, match="version 7"):
        ms.StreamingDataset(folder, version=7)
    with pytest.raises(errors.UsageError, match="ftp://"):
        ms.StreamingDataset("ftp://bucket/data")
    for options in ({"seed": 1.5}, {"lanes": 0}, {"shuffle_window": -1}, {"subsample": 0}):
        with pytest.raises(errors.UsageError):
            ms.StreamingDataset(folder, **options)  # type: ignore[arg-type]


def test_lost_and_cut_files_are_errors(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", [make(i) for i in range(100)])
    chunks = [
        folder / "chunks" / stream_of(ms.StreamingDataset(folder)).source.manifest.chunks.name(n)
        for n in (0, 1)
    ]
    chunks[0].unlink()
    chunks[1].write_bytes(chunks[1].read_bytes()[:-10])
    ds = ms.StreamingDataset(folder)
    with pytest.raises(errors.CorruptData, match="missing"):
        ds[0]
    with pytest.raises(errors.CorruptData, match=chunks[1].name):
        ds[int(stream_of(ds).source.chunk_rows[0])]
    manifest = folder / "versions/000000000001"
    manifest.write_bytes(manifest.read_bytes()[:-1] + b"?")
    with pytest.raises(errors.CorruptData, match="version 1"):
        ms.StreamingDataset(folder)


def test_pickle_needs_both_sides(tmp_path: Path) -> None:
    samples = [{"c": complex(1, i)} for i in range(3)]
    with pytest.raises(errors.SampleError, match="allow_pickle"):
        write(tmp_path / "a", samples)
    folder = write(tmp_path / "b", samples, allow_pickle=True)
    with pytest.raises(errors.CorruptData, match="pickle"):
        ms.StreamingDataset(folder)
    assert ms.StreamingDataset(folder, allow_pickle=True)[2] == {"c": complex(1, 2)}


def test_a_blob_that_fields_share_is_verified_once_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millstream.format import blob_view

    folder = write(tmp_path / "d", [{"a": "x" * 50, "b": b"y", "c": "z"} for _ in range(10)])
    ds = ms.StreamingDataset(folder)
    hashed: list[int] = []
    digest = blob_view.xxh3_64_intdigest
    monkeypatch.setattr(
        blob_view, "xxh3_64_intdigest", lambda blob: hashed.append(len(blob)) or digest(blob)
    )
    assert len(ds[:10]) == 10
    assert len(hashed) == 10


def test_a_dataset_is_iterable_for_a_torch_that_comes_later(folder: Path) -> None:
    process = start(
        """
        import sys
        import millstream as ms
        dataset = ms.StreamingDataset(sys.argv[1], shuffle=True, fields=["id"])
        assert "torch" not in sys.modules
        from torch.utils.data import DataLoader
        loader = DataLoader(dataset, batch_size=300)
        print([sorted(b["id"].tolist()) == list(range(300)) for b in loader], type(dataset))
        print(next(iter(loader))["id"].tolist() == list(range(300)))
        """,
        folder,
    )
    out, err = process.communicate()
    name = "millstream.reading.dataset.StreamingDataset"
    assert (out, err) == (f"[True] <class '{name}'>\nFalse\n", "")
