"""Jobs in shards: whoever does which, when, and is killed at what, the dataset is the same."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from buckets import Bucket
from datasets import everything
from encryption.kinds import fernet
from jobs import dataset, document, sample

import millstream as ms
from millstream import errors
from millstream.store import LocalStore
from millstream.utilities.encryption import RSAEncryption
from millstream.versions import load_version
from millstream.writing.inventory import chunk_header
from millstream.writing.local_job import LocalJob
from millstream.writing.repair import repair

pytestmark = pytest.mark.timeout(200)


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (sample, {}),
    "tokens": (document, {"item_loader": ms.TokensLoader(), "chunk_bytes": "4KB"}),
    "compressed": (sample, {"compression": "zstd"}),
    "weighted": (sample, {"weights": [1 + i % 11 for i in range(120)]}),
}


def write(place: Any, fn: Any = sample, **options: Any) -> Any:
    given = {"num_workers": 0, "chunk_bytes": "6KB", "verbose": False, **options}
    return ms.optimize(fn, range(120), place, **given)


def commit(place: Any, **options: Any) -> Any:
    return ms.commit(place, **{"num_workers": 0, "verbose": False, **options})


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    write(tmp_path / "whole")
    return dataset(everything(tmp_path / "whole"))


# The same bytes --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_makes_the_bytes_of_a_job_without_shards(
    bucket: Bucket, scratch: Path, tmp_path: Path, kind: str, count: int
) -> None:
    fn, options = KINDS[kind]
    write(tmp_path / "whole", fn, **options)
    whole = dataset(everything(tmp_path / "whole"))
    far = {"storage_options": bucket.options}
    indices = random.Random(count).sample(range(count), count)
    reports = []
    for index in indices:
        reports.append(write(bucket.url, fn, shard=f"{index}/{count}", **far, **options))
        write(tmp_path / "out", fn, shard=f"{index}/{count}", **options)
    assert sum(report.samples for report in reports) == commit(tmp_path / "out").samples
    assert all((report.version, report.already_done) == (0, False) for report in reports)
    assert dataset(everything(tmp_path / "out")) == whole
    report = commit(bucket.url, **far)
    assert (report.version, report.shard) == (1, None)
    assert bucket.objects() == whole
    assert list(scratch.iterdir()) == []
    # Of what is published there is nothing more to do, for nobody.
    assert write(bucket.url, fn, shard=f"0/{count}", **far, **options).already_done
    assert write(tmp_path / "out", fn, **options).already_done


def test_run_again_they_build_the_chunks_that_the_commit_then_has(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    for index in range(3):
        write(tmp_path / "out", shard=f"{index}/3")
    before = len(list((tmp_path / "out").glob("chunks/*")))
    for index in range(3):
        again = write(tmp_path / "out", shard=f"{index}/3")
        assert (again.already_done, again.version) == (True, 0)
    chunks = sum(name.startswith("chunks/") for name in whole)
    # The one at which the whole ends too: what is not yet all there may still grow.
    assert before < len(list((tmp_path / "out").glob("chunks/*"))) == chunks
    commit(tmp_path / "out")
    assert dataset(everything(tmp_path / "out")) == whole


def test_the_call_without_shards_goes_on_with_what_they_have_done(
    bucket: Bucket, scratch: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    calls = tmp_path / "calls"

    def fn(i: int) -> Any:
        with calls.open("a") as file:
            file.write(f"{i}\n")
        yield from sample(i)

    write(tmp_path / "counted", fn)
    calls.unlink()
    write(bucket.url, fn, shard="1/2", storage_options=bucket.options)
    write(bucket.url, fn, storage_options=bucket.options)
    assert sorted(map(int, calls.read_text().split())) == list(range(120))
    assert bucket.objects() == dataset(everything(tmp_path / "counted"))


def test_the_dictionary_of_a_compression_is_that_of_the_first_chunk(tmp_path: Path) -> None:
    """Also for a shard that has to build others before anybody has built that one."""

    def fn(i: int) -> Iterator[str]:
        chance = random.Random(i)
        for _ in range(40):
            yield f"the quick brown {chance.randrange(99)} fox jumps over {i} lazy dogs once more"

    options = {"compression": "zstd", "chunk_bytes": "60KB"}
    write(tmp_path / "whole", fn, **options)
    for index in (0, 1):
        write(tmp_path / "out", fn, shard=f"{index}/2", **options)
    commit(tmp_path / "out")
    assert dataset(everything(tmp_path / "out")) == dataset(everything(tmp_path / "whole"))
    store = LocalStore(tmp_path / "out")
    table = load_version(store).manifest.chunks
    header = chunk_header(store, f"chunks/{table.name(0)}", int(table.sizes[0]))
    assert header.layout.dictionary is not None


def test_append_and_overwrite(tmp_path: Path) -> None:
    for name, shards in (("whole", [None]), ("out", ["0/2", "1/2"])):
        place = tmp_path / name
        write(place)
        for mode in ("append", "overwrite"):
            for shard in shards:
                write(place, mode=mode, shard=shard)
            if shards != [None]:
                assert load_version(LocalStore(place)).manifest.version == 1 + (mode != "append")
                commit(place)
        assert load_version(LocalStore(place)).manifest.version == 3
    assert dataset(everything(tmp_path / "out")) == dataset(everything(tmp_path / "whole"))


def test_encrypted(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / "out", encryption=fernet(), shard=f"{index}/3")
    assert not any(
        b"118 118" in path.read_bytes() for path in (tmp_path / "out").rglob("segments/*")
    )
    with pytest.raises(errors.CannotDecrypt, match="pass its encryption"):
        commit(tmp_path / "out")
    with pytest.raises(errors.CannotDecrypt):
        commit(tmp_path / "out", encryption=fernet("another"))
    with pytest.raises(errors.CannotDecrypt, match=r"fernet/sample.*is fernet/chunk"):
        commit(tmp_path / "out", encryption=fernet(level="chunk"))
    write(tmp_path / "open", shard="0/1")
    with pytest.raises(errors.CannotDecrypt, match="leave encryption out"):
        commit(tmp_path / "open", encryption=fernet())
    commit(tmp_path / "out", encryption=fernet())
    found = ms.StreamingDataset(tmp_path / "out", encryption=fernet())
    assert [row["id"] for row in found[:]] == [row["id"] for i in range(120) for row in sample(i)]
    RSAEncryption().save_public_key(tmp_path / "public.pem")
    public = RSAEncryption.load_public_key(tmp_path / "public.pem")
    write(tmp_path / "rsa", encryption=RSAEncryption(), shard="0/2")
    with pytest.raises(errors.UsageError, match="with the public key alone"):
        write(tmp_path / "public", encryption=public, shard="0/2")
    assert not (tmp_path / "public").exists()


# Refusals --------------------------------------------------------------------------------------


def test_a_commit_names_the_shards_that_are_missing(tmp_path: Path) -> None:
    for index in (0, 2, 3):
        write(tmp_path / "out", shard=f"{index}/5")
    before = everything(tmp_path / "out")
    with pytest.raises(errors.JobUnfinished, match=r"48 inputs are not done: run shard 1/5, 4/5, "):
        commit(tmp_path / "out")
    assert everything(tmp_path / "out") == before


@pytest.mark.parametrize("wrong", ["3/3", "1", "-1/2", "1/2/3", "a/b", 3, "1/0", ""])
def test_what_is_no_shard(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(errors.UsageError, match="expected INDEX/COUNT"):
        write(tmp_path / "out", shard=wrong)
    assert not (tmp_path / "out").exists()


def test_what_does_not_go_together(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(errors.UsageError, match="no job that is run in shards"):
        commit(out)
    write(tmp_path / "plain")
    with pytest.raises(errors.UsageError, match="no job that is run in shards"):
        commit(tmp_path / "plain")
    write(out, shard="0/2")
    with pytest.raises(errors.UsageError, match="expected the start of a digest"):
        commit(out, job=5)
    with pytest.raises(errors.UsageError, match=r"remove .*/out/\.job-[0-9a-f]{16} to give it up"):
        repair(LocalStore(out))
    with pytest.raises(errors.UsageError, match="run in 2 shards"):
        write(out, shard="0/3")
    with pytest.raises(errors.OutputNotEmpty, match="chunk_bytes"):
        write(out, shard="1/2", chunk_bytes="7KB")
    with pytest.raises(errors.OutputNotEmpty, match="chunk_bytes"):
        write(out, chunk_bytes="7KB")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(errors.OutputNotEmpty, match="it holds file"):
        write(tmp_path / "other", shard="0/2")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["file"]
    write(out, shard="1/2")
    assert not commit(out).already_done
    assert commit(out).already_done
    with pytest.raises(errors.UsageError, match="no job of the digest 99"):
        commit(out, job="99")


def test_of_several_jobs_in_shards_one_is_chosen(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out)
    begun = []

    def fn(i: int) -> Any:
        if not begun:
            begun.append(True)  # two that are under way at once do not mind each other
            write(out, fn, mode="overwrite", shard="0/1")
        return sample(i)

    write(out, fn, mode="append", shard="0/1")
    with pytest.raises(errors.UsageError, match="2 jobs that are run in shards") as caught:
        commit(out)
    digests = [word for word in str(caught.value).split() if re.fullmatch("[0-9a-f]{16}", word)]
    assert [commit(out, job=digest).version for digest in digests] == [2, 3]


def test_a_commit_is_not_run_beside_shards_nor_shards_beside_it(
    bucket: Bucket, scratch: Path, tmp_path: Path
) -> None:
    tried = []

    def trying(place: Any, **options: Any) -> Any:
        def fn(i: int) -> dict[str, int]:
            if i < 2:
                with pytest.raises(errors.OutputBusy):
                    commit(place, **options)
                with pytest.raises(errors.OutputBusy):
                    write(place, lambda i: i, **options)
                tried.append(i)
            return {"id": i}

        for index in range(2):
            write(place, fn, shard=f"{index}/2", **options)
        return fn

    trying(bucket.url, storage_options=bucket.options)
    fn = trying(tmp_path / "out")
    assert tried == [0, 1] * 2
    (name,) = {path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".job")}
    job = LocalJob(LocalStore(tmp_path / "out"), name)
    job.enter()
    with pytest.raises(errors.OutputBusy):
        write(tmp_path / "out", fn, shard="1/2")
    job.leave(None)
    commit(tmp_path / "out")


def test_the_first_bad_input_of_a_shard_is_named(tmp_path: Path) -> None:
    def fn(i: int) -> dict[str, float]:
        return {"x": 1 / (i - 7) / (i - 5)}

    with pytest.raises(errors.FunctionError, match="input 5 "):
        write(tmp_path / "out", fn, shard="1/2", num_workers=2)
    write(tmp_path / "out2", fn, shard="1/2", on_error="skip")
    report = write(tmp_path / "out2", fn, shard="0/2", on_error="skip")
    assert report.skipped == ()
    assert [some.input for some in commit(tmp_path / "out2").skipped] == [5, 7]


def test_samples_that_differ_between_shards_are_found(tmp_path: Path) -> None:
    def fn(i: int) -> dict[str, Any]:
        return {"x": i if i % 2 else f"{i}"}

    write(tmp_path / "out", fn, shard="0/2")
    with pytest.raises(errors.SampleError, match="input 1 "):
        write(tmp_path / "out", fn, shard="1/2")
    with pytest.raises(errors.SampleError, match="input 1 "):
        commit(tmp_path / "out")


def test_every_split_of_the_tasks_is_a_partition() -> None:
    from millstream.writing.shards import Share

    for count in range(1, 9):
        found = [[n for n in range(50) if Share(i, count).has(n)] for i in range(count)]
        assert sorted(itertools.chain(*found)) == list(range(50))
