"""The commands on a dataset in a bucket say and do what they do on one in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import make
from servers.seaweedfs import SeaweedFS

import millstream as ms
from millstream.cli import main
from millstream.store import LocalStore, Store, open_store

pytestmark = pytest.mark.timeout(120)

FUNCTIONS = """
from pathlib import Path


def read(path):
    return {"name": Path(path).name, "size": Path(path).stat().st_size}
"""


@pytest.fixture
def far(
    seaweedfs: SeaweedFS, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The URL of a dataset as `store` is, and the options to reach it; the keys are elsewhere."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # where the cache lies
    options = seaweedfs.options()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options.pop("aws_access_key_id"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options.pop("aws_secret_access_key"))
    url = f"s3://millstream/{prefix}/d"
    ms.optimize(
        make, range(60), url, chunk_size=20, num_workers=0, verbose=False, storage_options=options
    )
    return [url, *(f"--storage-option={key}={value}" for key, value in options.items())]


@pytest.fixture
def bucket(far: list[str]) -> Store:
    pairs = [text.removeprefix("--storage-option=").partition("=") for text in far[1:]]
    return open_store(far[0], {key: value for key, _, value in pairs})


def test_looking(far: list[str], store: LocalStore, document: Any) -> None:
    here, there = document("info", store.root), document("info", *far)
    means = [field.pop("mean_bytes") for field in there["fields"]]
    assert [size is None for size in means] == [False, True, True, True, False]
    for fields in (here["fields"], there["fields"]):
        for field in fields:
            field.pop("mean_bytes", None), field.pop("exact", None)
    for name in ("rows", "bytes", "chunks", "fields", "settings", "history", "compression"):
        assert here[name] == there[name], name
    assert document("ls", *far)["chunks"] == document("ls", store.root)["chunks"]


def test_get(far: list[str], store: LocalStore, document: Any, tmp_path: Path) -> None:
    here, there = document("get", store.root, "17"), document("get", *far, "17")
    assert here["sample"] == there["sample"]


def test_verify_names_what_is_wrong(far: list[str], bucket: Store, document: Any, run: Any) -> None:
    assert run("verify", *far)[0] == 0
    assert run("verify", *far, "--quick")[0] == 0
    first, second, third = (chunk["digest"] for chunk in document("ls", *far)["chunks"])
    bucket.delete(f"chunks/{first}")
    content = bytearray(bucket.get(f"chunks/{second}"))
    content[-1] ^= 1
    bucket.put(f"chunks/{second}", bytes(content))
    bucket.put(f"chunks/{third}", bytes(content[:-1]))
    found = document("verify", *far, code=1)["problems"]
    assert [problem["chunk"] for problem in found] == [0, 1, 2]
    assert found[0]["problem"] == "is missing"
    assert (found[1]["problem"], found[1]["first_row"]) == ("does not match its checksum", 39)
    assert "the manifest lists" in found[2]["problem"]


def test_repair_gives_back_a_lost_manifest(far: list[str], bucket: Store, run: Any) -> None:
    before = {info.key: bucket.get(info.key) for info in bucket.list("")}
    key = "versions/000000000001"
    bucket.put(key, before[key][:-1] + b"x")
    code, out, _ = run("repair", *far)
    assert code == 0
    assert "version 1 rebuilt from the 3 chunks" in out
    assert f"moved aside to {far[0]}/{key}.damaged" in out
    after = {info.key: bucket.get(info.key) for info in bucket.list("")}
    assert after.pop(f"{key}.damaged") == before[key][:-1] + b"x"
    assert after == before


def test_prune_deletes_what_nothing_needs(far: list[str], bucket: Store, document: Any) -> None:
    bucket.put(f"chunks/{'a' * 64}", b"not needed")
    bucket.put(f".probe-{'0' * 16}", b"1")
    found = document("prune", *far, "--keep", "1", "--older-than", "0")
    assert found["deleted"] == [f".probe-{'0' * 16}", f"chunks/{'a' * 64}"]
    assert document("verify", *far)["ok"]


def test_prune_and_repair_keep_away_from_a_job(far: list[str], bucket: Store, run: Any) -> None:
    bucket.put(".job/owner", b'{"id": "1", "pid": 7, "host": "there", "since": "then"}')
    for command in (["repair"], ["prune", "--keep", "1", "--older-than", "0"]):
        code, _, err = run(command[0], *far, *command[1:])
        assert code == 1
        assert "another job is writing here: process 7 on there since then" in err


def test_optimize_from_a_bucket_into_a_bucket(
    far: list[str], bucket: Store, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "from_bucket.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    url, *options = far
    for name in ("b.txt", "a/1.txt", ".hidden", "out/old.txt"):
        open_store(f"{url}-raw", dict(text.split("=", 2)[1:] for text in options)).put(name, b"xyz")
    line = ["optimize", "from_bucket:read", f"{url}-raw", f"{url}-raw/out", "--workers", "0"]
    code, out, err = run(*line, *options)
    assert code == 1
    assert "is not empty: it holds old.txt" in err
    line[3] = f"{url}-raw/new"
    code, out, err = run(*line, *options, "--take-over")
    assert (code, err.startswith("3 inputs, from ")) == (0, True)
    assert "3 samples" in out
    names = [run("get", line[3], *options, n, "--field", "name")[1].strip() for n in range(3)]
    assert sorted(names) == ["1.txt", "b.txt", "old.txt"]
    # What is there now is not an input of a second run.
    assert "3 samples" in run(*line, *options)[1]


def test_an_option_is_a_pair(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["info", "s3://b/d", "--storage-option", "region"])
    assert ended.value.code == 2
    assert "KEY=VALUE" in capsys.readouterr().err
    assert main(["info", "s3://b/d", "--storage-option", "nonsense=1"]) == 2
    assert "storage_options has no 'nonsense' for s3" in capsys.readouterr().err
