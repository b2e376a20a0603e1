"""Codecs of the user's own: what they write they read back, along every way."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream import errors
from millstream.cli import main

ROWS = 50


@dataclass(frozen=True)
class Point:
    x: int
    y: int


class PointCodec(ms.BlobCodec):
    kind = "point"

    def describe(self, value: Any) -> str | None:
        return "" if isinstance(value, Point) else None

    def encode(self, value: Point) -> bytes:
        return struct.pack("<qq", value.x, value.y)

    def decode(self, payload: memoryview) -> Point:
        return Point(*struct.unpack("<qq", payload))


class Backwards(ms.BlobCodec):
    """Takes over text, and reads it backwards."""

    kind = "str"

    def describe(self, value: Any) -> str | None:
        return "" if isinstance(value, str) else None

    def encode(self, value: str) -> bytes:
        return value[::-1].encode()

    def decode(self, payload: memoryview) -> str:
        return str(payload, "utf-8")[::-1]


def sample(i: int) -> dict[str, Any]:
    return {"id": i, "point": Point(i, -i), "text": f"text {i}"}


OURS = (PointCodec(),)


def write(folder: Path, workers: int = 0, serializers: Any = OURS, **more: Any) -> Path:
    ms.optimize(
        sample, range(ROWS), folder, num_workers=workers, chunk_size=20, verbose=False,
        serializers=serializers, **more,
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_codec_writes_it_reads(tmp_path: Path, workers: int) -> None:
    folder = write(tmp_path / "d", workers)
    dataset = ms.StreamingDataset(folder, serializers=[PointCodec()], shuffle=True)
    assert dataset[7] == sample(7)
    assert sorted(dataset, key=lambda row: row["id"]) == list(map(sample, range(ROWS)))
    loader = ms.StreamingDataLoader(dataset, batch_size=8, num_workers=workers, collate_fn=list)
    found = [row for batch in loader for row in batch]
    assert sorted(found, key=lambda row: row["id"]) == list(map(sample, range(ROWS)))


def test_by_name_as_litdata_has_them(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", serializers={"point": PointCodec()})
    assert ms.StreamingDataset(folder, serializers={"point": PointCodec()})[3] == sample(3)


def test_they_are_asked_before_ours(tmp_path: Path) -> None:
    both = (PointCodec(), Backwards())
    folder = write(tmp_path / "d", serializers=both)
    assert ms.StreamingDataset(folder, serializers=both)[5] == sample(5)
    assert ms.StreamingDataset(folder, serializers=both[:1])[5]["text"] == "5 txet"


def test_without_the_codec_the_rest_and_the_bytes_can_be_had(tmp_path: Path, capsys: Any) -> None:
    folder = write(tmp_path / "d")
    with pytest.raises(errors.CorruptData, match="give the same to StreamingDataset"):
        ms.StreamingDataset(folder)
    dataset = ms.StreamingDataset(folder, decode={"point": "bytes"})
    assert dataset[2] == {"id": 2, "point": struct.pack("<qq", 2, -2), "text": "text 2"}
    dataset = ms.StreamingDataset(folder, decode={"point": lambda b: struct.unpack("<qq", b)})
    assert dataset[2]["point"] == (2, -2)
    assert ms.StreamingDataset(folder, fields=["id", "text"])[2] == {"id": 2, "text": "text 2"}
    assert main(["info", str(folder), "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)["fields"]
    assert [(f["kind"], f["mean_bytes"]) for f in fields if f["name"] == "point"] == [("point", 16)]
    assert main(["get", str(folder), "2", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["sample"]["point"]
    assert shown == {"kind": "point", "bytes": 16, "first": struct.pack("<qq", 2, -2).hex()}


def test_without_the_codec_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(errors.SampleError, match="Point, which cannot be stored"):
        write(tmp_path / "d", serializers=None)


def test_another_code_is_another_job(tmp_path: Path) -> None:
    class PointCodec2(PointCodec):
        def encode(self, value: Point) -> bytes:
            return struct.pack("<qq", value.x + 1, value.y)

    write(tmp_path / "d")
    with pytest.raises(errors.OutputNotEmpty, match="serializers"):
        write(tmp_path / "d", serializers=[PointCodec2()])
    write(tmp_path / "d")  # the same, which is done


def test_an_append_needs_the_same_kinds(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    write(folder, mode="append")
    dataset = ms.StreamingDataset(folder, serializers=[PointCodec()])
    assert (len(dataset), dataset[-1]) == (2 * ROWS, sample(ROWS - 1))
    with pytest.raises(errors.SampleError, match="'point'"):
        ms.optimize(
            lambda i: {**sample(i), "point": i}, range(9), folder, mode="append", num_workers=0
        )


@pytest.mark.parametrize("given", [[3], [PointCodec], [ms.BlobCodec], [PointCodec()] * 2, "abc"])
def test_what_is_no_codec_is_refused(tmp_path: Path, given: Any) -> None:
    with pytest.raises(errors.UsageError, match="serializers"):
        write(tmp_path / "d", serializers=given)
    assert not (tmp_path / "d").exists()
