"""Jobs on a real Ray cluster: what they write is what one process writes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from buckets import Bucket
from datasets import everything
from encryption.kinds import aes, fernet
from jobs import columns, document, sample
from ray_cluster import RayCluster
from scripts import start

import millstream as ms
from millstream import Machine, errors

pytestmark = pytest.mark.timeout(200)


def of_group(group: list[int]) -> Iterator[dict[str, Any]]:
    return itertools.chain.from_iterable(map(sample, group))


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (sample, {"weights": [1 + i % 5 for i in range(60)]}),
    "tokens": (document, {"item_loader": ms.TokensLoader(), "chunk_bytes": "4KB"}),
    "batched": (columns, {"batched": True, "chunk_size": 70}),
    "compressed": (of_group, {"compression": "zstd", "batch_size": 7}),
}


def write(place: object, fn: Any, inputs: Any = range(60), **options: Any) -> Any:
    given = {"chunk_bytes": "3KB", "verbose": False, **options}
    return ms.optimize(fn, inputs, str(place), **given)


def files(folder: Path) -> dict[str, bytes]:
    """What lies there but for the records of runs."""
    return {name: content for name, content in everything(folder).items() if name[:5] != "runs/"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_are_those_of_one_process(
    far: ms.RayExecutor, bucket: Bucket, tmp_path: Path, kind: str
) -> None:
    fn, options = KINDS[kind]
    write(tmp_path / "here", fn, num_workers=0, **options)
    write(tmp_path / "shared", fn, executor=far, **options)
    write(bucket.url, fn, executor=far, storage_options=bucket.options, **options)
    here = files(tmp_path / "here")
    assert len(here) > 6
    assert files(tmp_path / "shared") == here
    assert bucket.objects() == here


@pytest.mark.parametrize("encryption", [fernet(), aes("chunk")], ids=["fernet", "aes by chunk"])
def test_encrypted_rows_are_the_same(
    far: ms.RayExecutor, bucket: Bucket, tmp_path: Path, encryption: Any
) -> None:
    options = {"encryption": encryption}
    write(tmp_path / "here", document, num_workers=0, **options)
    write(bucket.url, document, executor=far, storage_options=bucket.options, **options)
    here = ms.StreamingDataset(tmp_path / "here", **options)
    there = ms.StreamingDataset(bucket.url, storage_options=bucket.options, **options)
    assert len(here) == len(there) == 60
    assert all(map(np.array_equal, here[:], there[:]))


def test_files_and_urls_are_inputs(far: ms.RayExecutor, bucket: Bucket, tmp_path: Path) -> None:
    """Files that all machines see go into their chunks; those of a bucket are fetched there."""
    for n in range(20):
        (tmp_path / f"{n}.bin").write_bytes(bytes([n]) * 700)
        bucket.store.put(f"raw/{n}.bin", bytes([n]) * 700)
    places = [str(tmp_path / f"{n}.bin") for n in range(20)]
    urls = [f"{bucket.url}/raw/{n}.bin" for n in range(20)]
    out = Bucket(f"{bucket.url}/out", bucket.options)
    write(tmp_path / "here", ms.File, places, num_workers=0)
    write(out.url, ms.File, places, executor=far, storage_options=out.options)
    assert out.objects() == files(tmp_path / "here")
    write(
        tmp_path / "urls", lambda path: Path(path).read_bytes(), urls, executor=far,
        storage_options=bucket.options,
    )  # fmt: skip
    assert ms.StreamingDataset(tmp_path / "urls")[:] == [bytes([n]) * 700 for n in range(20)]


# Maps ------------------------------------------------------------------------------------------


def files_of(i: int, output_dir: str) -> None:
    if i % 7 == 3:
        raise ValueError("this one fails")
    Path(output_dir, f"{i}.txt").write_text("x" * i)
    (deep := Path(output_dir, "deep", f"{i % 4}")).mkdir(parents=True)
    (deep / f"{i}.bin").write_bytes(bytes(i))


def named(found: dict[str, bytes]) -> dict[str, bytes]:
    """What a map has made, without its notes."""
    return {name: content for name, content in found.items() if not name.startswith(".map-")}


def test_a_map_leaves_the_files_of_one_process(
    far: ms.RayExecutor, bucket: Bucket, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"on_error": "skip", "verbose": False}
    ms.map(files_of, range(40), tmp_path / "here", num_workers=0, **options)
    options |= {"executor": far}
    report = ms.map(files_of, range(40), bucket.url, storage_options=bucket.options, **options)
    assert [some.input for some in report.skipped] == list(range(3, 40, 7))
    ms.map(files_of, range(40), tmp_path / "shared", weights=list(range(40)), **options)
    here = named(everything(tmp_path / "here"))
    assert len(here) == 2 * 34
    assert named(bucket.objects()) == named(everything(tmp_path / "shared")) == here
    assert not any("/segments/" in key for key in bucket.objects())


# Arguments and errors --------------------------------------------------------------------------


def test_the_calls_of_litdata(far: ms.RayExecutor, tmp_path: Path, monkeypatch: Any) -> None:
    """Theirs, but for the machine: this cluster has none of 32 CPUs."""
    monkeypatch.chdir(tmp_path)
    ms.optimize(
        fn=lambda index: (index, index**2),
        inputs=list(range(100)),
        num_workers=1,
        output_dir="my_output",
        chunk_bytes="64MB",
        num_nodes=2,
        machine=Machine(cpus=1),
    )
    assert ms.StreamingDataset("my_output")[:] == [(i, i**2) for i in range(100)]
    ms.map(
        fn=lambda index, output_dir: Path(output_dir, f"{index}").write_text("x"),
        inputs=list(range(10)),
        output_dir="files",
        num_nodes=2,
        machine=Machine(cpus=1),
    )
    assert {path.name for path in Path("files").glob("[0-9]*")} == {str(i) for i in range(10)}


SCRIPT = """
    import sys
    import millstream as ms
    factor = 3
    where = dict(executor=ms.RayExecutor(address=sys.argv[2]), num_nodes=2, verbose=False)
    ms.optimize(lambda i: {"id": factor * i}, range(20), sys.argv[1], **where)
"""


def test_a_lambda_of_a_script_without_a_main_guard(
    far: ms.RayExecutor, cluster: RayCluster, tmp_path: Path
) -> None:
    _, said = start(SCRIPT, tmp_path / "out", cluster.address).communicate()
    assert ms.StreamingDataset(tmp_path / "out")[:] == [{"id": 3 * i} for i in range(20)], said


def failing(i: int) -> int:
    if i in (23, 24, 50):
        raise ValueError(f"number {i} is bad")
    return i


def test_an_error_is_that_of_the_first_bad_input(far: ms.RayExecutor, tmp_path: Path) -> None:
    with pytest.raises(errors.FunctionError) as error:
        write(tmp_path / "out", failing, executor=far)
    assert "for input 23 (23)" in str(error.value)
    assert "number 23 is bad" in str(error.value)
    assert "in failing" in str(error.value)  # its traceback, from there


def test_inputs_that_fail_are_skipped_and_one_bar_counts_all(
    far: ms.RayExecutor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = write(tmp_path / "out", failing, executor=far, on_error="skip", verbose=True)
    assert [some.input for some in report.skipped] == [23, 24, 50]
    assert ms.StreamingDataset(tmp_path / "out")[:] == [
        i for i in range(60) if i not in (23, 24, 50)
    ]
    bars = capsys.readouterr().err.replace("\r", "\n").split("\n")
    assert "60/60" in [bar for bar in bars if "inputs" in bar][-1]


def test_a_machine_that_does_not_see_the_folder_is_an_error_that_says_so(
    far: ms.RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker is told is not there is what it would not find on a machine without it."""
    from millstream.writing import local_job
    from millstream.writing.temporary import NodeTemporary

    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setattr(local_job, "NodeTemporary", lambda shared: NodeTemporary(elsewhere))
    with pytest.raises(errors.UnsupportedError, match=r"is not there on .*a shared file system"):
        write(tmp_path / "out", failing, executor=far)
