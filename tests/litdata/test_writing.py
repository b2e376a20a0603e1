"""What LitData 0.2.34 documents about writing, with nothing but the import changed."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from servers.seaweedfs import SeaweedFS

import millstream as ld
from millstream import (
    Machine,
    StreamingDataset,
    TokensLoader,
    merge_datasets,
    optimize,
)
from millstream import map as ld_map

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def picture(index: int) -> dict[str, Any]:
    """A sample as the quick start has it: a number, an image of Pillow, a label."""
    pixels = np.random.default_rng(index).integers(0, 256, (16, 24, 3), np.uint8)
    return {"index": index, "image": Image.fromarray(pixels), "class": index % 10}


def pair(index: int) -> tuple[int, int]:
    return index, index**2


def test_quick_start() -> None:
    ld.optimize(
        fn=picture,
        inputs=list(range(40)),
        output_dir="fast_data",
        num_workers=2,
        chunk_bytes="64MB",
    )
    dataset = ld.StreamingDataset("fast_data", shuffle=True, drop_last=True)
    seen = []
    for sample in ld.StreamingDataLoader(dataset):
        image, label = sample["image"], sample["class"]
        assert (tuple(image.shape), len(label)) == ((1, 3, 16, 24), 1)
        seen += sample["index"].tolist()
    assert sorted(seen) == list(range(40))


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_map_resizes_a_folder_of_images(where: str, prefix: str, request: Any) -> None:
    Path("large").mkdir()
    for index in range(6):
        picture(index)["image"].save(f"large/{index}.png")
    inputs = [os.path.join("large", name) for name in os.listdir("large")]  # noqa: PTH118, PTH208

    def resize(path: str, output_dir: str) -> None:
        target = os.path.join(output_dir, os.path.basename(path))  # noqa: PTH118, PTH119
        with Image.open(path) as image:
            image.resize((8, 8)).save(target)

    output, options = "small", None
    if where == "bucket":
        server: SeaweedFS = request.getfixturevalue("seaweedfs")
        output, options = f"s3://millstream/{prefix}", server.options()
    ld_map(fn=resize, inputs=inputs, output_dir=output, storage_options=options)
    _, _, found = next(iter(ld.walk(output, storage_options=options)))
    assert sorted(found) == [f"{index}.png" for index in range(6)]
    if where == "folder":
        with Image.open("small/3.png") as image:
            assert image.size == (8, 8)


def test_inputs_in_a_bucket(prefix: str, seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    options = seaweedfs.options()
    raw = f"s3://millstream/{prefix}"
    Path("text").write_text("one\ntwo\n")

    def upload(path: str, output_dir: str) -> None:
        Path(output_dir, "lines.txt").write_bytes(Path(path).read_bytes())

    ld.map(fn=upload, inputs=["text"], output_dir=raw, storage_options=options)
    optimize(
        fn=lambda path: Path(path).read_text(), inputs=[f"{raw}/lines.txt"], output_dir="d",
        chunk_bytes="64MB", storage_options=options,
    )  # fmt: skip
    assert StreamingDataset("d")[0] == "one\ntwo\n"


class Tokenizer:
    """Words by their length; with the call that the tokenizers of lit-gpt have."""

    def encode(self, text: str, bos: bool, eos: bool) -> np.ndarray[Any, Any]:
        return np.array([*map(len, text.split())] + [0] * eos, np.uint16)


def tokenize(path: str, tokenizer: Any = None) -> Iterator[Any]:
    with Path(path).open() as lines:
        for line in lines:
            row = json.loads(line)
            if row["meta"]["set"] != "code":
                yield tokenizer.encode(row["text"], bos=False, eos=True)


def test_tokens() -> None:
    for number in range(3):
        rows = [
            {"text": "to be or not " * (5 + i), "meta": {"set": ["web", "code"][i % 2]}}
            for i in range(20)
        ]
        Path(f"{number}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    optimize(
        fn=partial(tokenize, tokenizer=Tokenizer()),
        inputs=[f"{number}.jsonl" for number in range(3)],
        output_dir="tokens",
        chunk_size=(11 * 80),
        item_loader=TokensLoader(),
    )
    expected = np.concatenate(
        [tokens for n in range(3) for tokens in tokenize(f"{n}.jsonl", Tokenizer())]
    )
    dataset = StreamingDataset("tokens", item_loader=TokensLoader(block_size=10 + 1))
    assert len(dataset) == len(expected) // 11
    assert np.array_equal(np.concatenate(dataset[:]), expected[: len(dataset) * 11])


def test_a_large_file_is_read_bit_by_bit() -> None:
    def rows(path: str) -> Iterator[Any]:
        table = np.load(path, mmap_mode="r")
        for start in range(0, len(table), 64):
            for row in table[start : start + 64]:
                yield np.array(row)

    np.save("table.npy", np.arange(3_000).reshape(1_000, 3))
    optimize(fn=rows, inputs=["table.npy"], output_dir="d", chunk_size=(2049 * 8012))
    assert len(StreamingDataset("d")) == 1_000
    assert StreamingDataset("d")[7].tolist() == [21, 22, 23]


def keep_even(index: int) -> Iterator[int]:
    if index % 2 == 0:
        yield index


def ratio(value: int) -> Iterator[float]:
    with suppress(ZeroDivisionError):
        yield 1 / value


def test_filters() -> None:
    to = partial(optimize, chunk_bytes="64MB", num_workers=1)
    to(fn=keep_even, inputs=list(range(100)), output_dir="even")
    assert list(StreamingDataset("even")) == list(range(0, 100, 2))
    optimize(
        fn=ratio,
        inputs=[0, 0, 0, 1, 2, 4, 0],
        output_dir="ratios",
        chunk_bytes="64MB",
        num_workers=1,
    )
    assert list(StreamingDataset("ratios")) == [1.0, 0.5, 0.25]


def test_merge() -> None:
    folders = [f"part_{number}" for number in range(4)]
    for number, folder in enumerate(folders):
        optimize(
            fn=picture, inputs=list(range(number * 5, number * 5 + 5)), output_dir=folder,
            num_workers=2, chunk_bytes="64MB",
        )  # fmt: skip
    merge_datasets(input_dirs=folders, output_dir="merged")
    dataset = StreamingDataset("merged")
    assert len(dataset) == 20
    assert [sample["index"] for sample in dataset] == list(range(20))


def test_append_and_overwrite() -> None:
    add = partial(optimize, fn=pair, output_dir="./modified", chunk_bytes="64MB")
    add(inputs=list(range(100)))
    add(inputs=list(range(100, 200)), mode="append")
    dataset = StreamingDataset("./modified")
    assert len(dataset) == 200
    assert dataset[:] == [(i, i**2) for i in range(200)]
    add(inputs=list(range(7)), mode="overwrite")
    assert StreamingDataset("./modified")[:] == [(i, i**2) for i in range(7)]
    # Unlike there: who reads the old version goes on.
    assert dataset[199] == (199, 199**2)


def test_machines() -> None:
    """On one machine; tests/clusters has the calls with more."""
    with pytest.warns(UserWarning, match="machine has no effect here"):
        optimize(
            fn=pair, inputs=list(range(100)), num_workers=2, output_dir="d", chunk_bytes="64MB",
            num_nodes=1, machine=Machine.DATA_PREP,
        )  # fmt: skip
    assert StreamingDataset("d")[:] == [pair(i) for i in range(100)]


def test_a_jpeg_file_keeps_its_bytes() -> None:
    out = io.BytesIO()
    picture(1)["image"].save(out, "JPEG")
    Path("1.jpg").write_bytes(out.getvalue())
    optimize(fn=lambda path: {"image": Image.open(path)}, inputs=["1.jpg"], output_dir="d")
    stored = StreamingDataset("d", decode={"image": "bytes"})
    assert stored[0]["image"] == out.getvalue()
