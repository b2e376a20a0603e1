"""info, ls, get and verify: what they print, and how they fail."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import add_version, chunk_files, flip, make, manifest_file, write
from PIL import Image

import millstream as ms
from millstream.cli import main
from millstream.format import Tombstone, read_header
from millstream.store import LocalStore
from millstream.versions import load_version


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    return write(tmp_path_factory.mktemp("data") / "d")


# info and ls -----------------------------------------------------------------------------------


def test_info_says_what_one_wants_to_know(data: LocalStore, run: Any) -> None:
    code, out, err = run("info", data.root)
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    version = load_version(data)
    assert lines["version"].endswith(f"1, the newest; digest {version.digest[:16]}")
    assert lines["rows"].split() == ["rows", "60"]
    assert "in 3 chunks" in lines["size"]
    assert lines["stored"].endswith("compression none, encryption none")
    assert lines["settings"].split() == ["settings", "chunk_size", "20"]
    assert "millstream" in lines["written"]
    assert lines["id"].split() == ["id", "int", "8", "B"]
    assert lines["ragged"].split() == ["ragged", "ndarray", "int64", "varies", "8", "B"]
    assert lines["vector"].split() == ["vector", "ndarray", "float32", "(5,)", "20", "B"]
    assert lines["1"].split()[:2] == ["1", "60"]
    assert lines["1"].endswith("newest")


def test_info_as_json(data: LocalStore, document: Any) -> None:
    found = document("info", data.root)
    version = load_version(data)
    assert (found["rows"], found["chunks"], found["newest"]) == (60, 3, 1)
    assert found["bytes"] == version.manifest.nbytes
    assert found["digest"] == found["history"][0]["digest"] == version.digest
    assert found["settings"] == {"chunk_bytes": None, "chunk_size": 20}
    fields = {field["name"]: field for field in found["fields"]}
    assert fields["vector"] == {
        "name": "vector", "kind": "ndarray", "dtype": "<f4", "shape": [5], "mean_bytes": 20.0,
        "exact": True,
    }  # fmt: skip
    assert data.path(f"runs/{found['job']}.json").exists()
    assert set(found["run"]) == {"finished", "host", "libraries"}


def test_info_measures_long_datasets(tmp_path: Path, run: Any) -> None:
    store = write(tmp_path / "d", 1_500, lambda i: (i, f"{i:07}"), chunk_size=700)
    lines = run("info", store.root)[1].splitlines()
    assert any(line.split() == ["1", "str", "about", "7", "B"] for line in lines)
    assert any(line.split() == ["0", "int", "8", "B"] for line in lines)


def test_info_tells_the_history(store: LocalStore, run: Any, document: Any) -> None:
    for _ in range(3):
        add_version(store)
    digests = [load_version(store, n).digest for n in (1, 2, 3, 4)]
    manifest_file(store, 1).write_bytes(Tombstone(version=1, digest=digests[0]).to_bytes())
    flip(manifest_file(store, 2), 99)
    manifest_file(store, 3).unlink()
    code, out, _ = run("info", store.root)
    assert code == 0
    told = [line.split()[-1] for line in out.splitlines()[-4:]]
    assert told == ["newest", "missing", "damaged", "pruned"]
    history = document("info", store.root)["history"]
    assert [past["state"] for past in history] == ["whole", "missing", "damaged", "pruned"]
    assert history[0]["parent"] == digests[2]
    assert history[3]["digest"] == digests[0]


def test_info_of_an_older_version(store: LocalStore, run: Any) -> None:
    add_version(store, first=1)
    out = run("info", store.root, "--version", 1)[1]
    assert "1, the newest is 2" in out
    assert run("info", store.root, "--version", 7)[0] == 1


@pytest.mark.parametrize("harm", ["header", "missing"])
def test_info_goes_on_where_a_chunk_is_bad(store: LocalStore, run: Any, harm: str) -> None:
    first = chunk_files(store)[0]
    first.unlink() if harm == "missing" else flip(first, 70)
    code, out, err = run("info", store.root)
    assert code == 0
    assert "millstream verify" in err
    assert "unknown" in out
    assert "60" in out


def test_ls(data: LocalStore, run: Any, document: Any) -> None:
    names = [path.name for path in chunk_files(data)]
    lines = [line.split() for line in run("ls", data.root)[1].splitlines()]
    assert [line[:4] for line in lines[1:]] == [
        [str(n), str(20 * n), str(20 * n + 19), "20"] for n in range(3)
    ]
    assert [line[-1] for line in lines[1:]] == [name[:12] for name in names]
    full = run("ls", data.root, "--full")[1].splitlines()
    assert [line.split()[-1] for line in full[1:]] == names
    found = document("ls", data.root)
    assert [chunk["digest"] for chunk in found["chunks"]] == names
    assert [chunk["bytes"] for chunk in found["chunks"]] == [
        path.stat().st_size for path in chunk_files(data)
    ]
    assert (found["chunks"][2]["first"], found["chunks"][2]["last"]) == (40, 59)


# get -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, bytes]:
    """One row with a value of every kind, and the JPEG file in it."""
    place = tmp_path_factory.mktemp("photos")
    Image.new("RGB", (30, 20), "red").save(place / "a.jpg")

    def fn(_: int) -> dict[str, Any]:
        image = Image.open(place / "a.jpg")
        return {
            "image": image,
            "pixels": image.convert("RGB"),
            "floats": Image.new("F", (3, 2)),
            "text": "ä" * 200,
            "raw": bytes(range(100)),
            "array": np.arange(10_000.0).reshape(100, 100),
            "small": np.array([np.nan, 1.0]),
            "flag": True,
            "number": np.float32(0.5),
            "half": torch.ones(3, dtype=torch.bfloat16),
            "tensor": torch.arange(4),
            "free": ms.Json({"a": (1, None, float("inf"))}),
            "any": {1, 2},
            "nested": [(1.5, None), {"x": 2}],
        }

    store = write(place / "d", 1, fn, allow_pickle=True)
    return store, (place / "a.jpg").read_bytes()


def test_get_shows_a_sample(photos: tuple[LocalStore, bytes], run: Any) -> None:
    store, jpeg = photos
    code, out, err = run("get", store.root, 0)
    assert (code, err) == (0, "")
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line}
    assert out.startswith("row 0 of 1, version 1\n")
    assert lines["image"] == f"jpeg RGB, 30 x 20, {len(jpeg)} B"
    assert lines["pixels"].startswith("pil RGB, 30 x 20")
    assert lines["text"].endswith("(200 characters)")
    assert lines["raw"].endswith("... (100 B)")
    assert lines["array"].startswith("ndarray float64 (100, 100) [0.0, 1.0, 2.0,")
    assert lines["array"].endswith("7.0, ...]")
    assert lines["small"] == "ndarray float64 (2,) [nan, 1.0]"
    assert lines["flag"] == "bool True"
    assert lines["number"] == "scalar float32 0.5"
    assert lines["half"] == "tensor bfloat16 (3,) [1.0, 1.0, 1.0]"
    assert lines["tensor"] == "tensor int64 (4,) [0, 1, 2, 3]"
    assert lines["free"] == "json {'a': (1, None, inf)}"
    assert "not opened" in lines["any"]
    assert lines["nested.0.0"] == "float 1.5"
    assert max(map(len, out.splitlines())) < 120


def test_get_as_json(photos: tuple[LocalStore, bytes], document: Any) -> None:
    store, jpeg = photos
    found = document("get", store.root, -1)
    assert (found["row"], found["version"]) == (0, 1)
    sample = found["sample"]
    assert sample["image"] == {
        "kind": "jpeg", "mode": "RGB", "width": 30, "height": 20, "bytes": len(jpeg),
    }  # fmt: skip
    assert sample["text"] == "ä" * 200
    assert sample["array"]["shape"] == [100, 100]
    assert sample["array"]["first"] == list(map(float, range(8)))
    assert sample["small"]["values"] == ["nan", 1.0]
    assert sample["half"]["values"] == [1.0] * 3
    assert (sample["flag"], sample["number"]) == (True, 0.5)
    assert sample["free"] == {"a": [1, None, "inf"]}
    assert sample["any"].keys() == {"kind", "bytes"}
    assert sample["nested"] == [[1.5, None], {"x": 2}]
    assert document("get", store.root, 0, "--field", "flag")["value"] is True


def test_get_one_field_in_full(photos: tuple[LocalStore, bytes], run: Any) -> None:
    root = photos[0].root
    assert run("get", root, 0, "--field", "text")[1] == "ä" * 200 + "\n"
    assert run("get", root, 0, "--field", "free")[1].startswith('{\n  "a": [')
    assert run("get", root, 0, "--field", "tensor")[1] == "[0 1 2 3]\n"
    assert "30 x 20" in run("get", root, 0, "--field", "image")[1]


class Loud:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("unpickled",)


def test_get_never_unpickles_unless_asked(tmp_path: Path, run: Any) -> None:
    store = write(tmp_path / "d", 1, lambda i: Loud(), allow_pickle=True)
    for options in ([], ["--json"], ["--field", "value"], ["--output", str(tmp_path / "out")]):
        code, out, _ = run("get", store.root, 0, *options)
        assert code == 0
        assert "unpickled" not in out
    for command in (["info"], ["verify"]):
        assert "unpickled" not in run(*command, store.root)[1]
    assert "unpickled" in run("get", store.root, 0, "--allow-pickle")[1]


def test_output_is_the_file_that_went_in(
    photos: tuple[LocalStore, bytes], run: Any, tmp_path: Path
) -> None:
    store, jpeg = photos

    def written(field: str, name: str) -> bytes:
        path = tmp_path / name
        code, out, err = run("get", store.root, 0, "--field", field, "--output", path)
        assert (code, out) == (0, "")
        assert err.startswith(f"{path}: {field}, ")
        return path.read_bytes()

    assert written("image", "a.jpg") == jpeg
    assert written("text", "a.txt").decode() == "ä" * 200
    assert written("raw", "a.bin") == bytes(range(100))
    assert np.load(io.BytesIO(written("array", "a.npy"))).sum() == 49_995_000
    flag = np.load(io.BytesIO(written("flag", "b.npy")))
    assert (flag.dtype, flag.shape, bool(flag)) == (np.bool_, (), True)
    for name, kind in (("a.png", "PNG"), ("a.tiff", "TIFF"), ("plain", "PNG")):
        image = Image.open(io.BytesIO(written("pixels", name)))
        assert (image.format, image.size, image.getpixel((0, 0))) == (kind, (30, 20), (254, 0, 0))
    code, _, err = run("get", store.root, 0, "--field", "floats", "--output", tmp_path / "f.png")
    assert (code, ".tiff may hold it" in err) == (2, True)


def test_output_to_stdout(
    photos: tuple[LocalStore, bytes], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    store, jpeg = photos
    assert main(["get", str(store.root), "0", "--field", "image", "--output", "-"]) == 0
    assert capfdbinary.readouterr().out == jpeg


def test_get_rows_and_fields_that_are_not_there(data: LocalStore, run: Any) -> None:
    assert run("get", data.root, -1)[1].startswith("row 59 of 60")
    code, out, err = run("get", data.root, 60)
    assert (code, out) == (1, "")
    assert err == "millstream get: index 60 is outside a dataset of 60 samples\n"
    code, _, err = run("get", data.root, 0, "--field", "ids")
    assert (code, "id, name, note, ragged, vector" in err) == (2, True)
    assert run("get", data.root, 0, "--output", "x")[0] == 2
    missing = run("get", data.root, 0, "--field", "id", "--output", "/none/such/file")
    assert (missing[0], missing[2]) == (
        1, "millstream get: /none/such/file: No such file or directory\n",
    )  # fmt: skip


# verify ----------------------------------------------------------------------------------------


def test_verify(store: LocalStore, run: Any, document: Any) -> None:
    code, out, err = run("verify", store.root)
    assert (code, err) == (0, "")
    assert out.endswith("every byte is right\n")
    assert document("verify", store.root)["ok"] is True
    _, second, third = chunk_files(store)
    header = read_header(memoryview(second.read_bytes()))
    group = next(g for g in header.layout.groups if len(g.fields) == 2)
    flip(second, header.body + group.data.offset + 8)
    third.unlink()
    code, out, _ = run("verify", store.root)
    assert code == 1
    lines = out.splitlines()
    assert lines[0] == (
        f"chunk 1 ({second.name[:12]}), row 20, fields name, note: does not match its checksum"
    )
    assert lines[1] == f"chunk 2 ({third.name[:12]}), rows 40 to 59: is missing"
    assert "2 problems in 2 chunks" in out
    assert {f"  {path}" for path in (second, third)} <= set(lines)
    found = document("verify", store.root, code=1)
    assert found["problems"][0] == {
        "problem": "does not match its checksum", "chunk": 1, "digest": second.name,
        "first_row": 20, "last_row": 20, "fields": ["name", "note"],
    }  # fmt: skip
    quick = document("verify", store.root, "--quick", code=1)
    assert [problem["chunk"] for problem in quick["problems"]] == [2]


def test_verify_finds_a_damaged_manifest(store: LocalStore, run: Any, document: Any) -> None:
    flip(manifest_file(store), 80)
    code, out, _ = run("verify", store.root)
    assert code == 1
    assert "version 1: the manifest does not match its checksum" in out
    assert "millstream repair" in out
    found = document("verify", store.root, code=1)
    assert (found["ok"], len(found["problems"])) == (False, 1)


def test_progress_is_for_terminals(
    data: LocalStore, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    code, out, err = run("verify", data.root)
    assert code == 0
    assert "%" in err
    assert "%" not in out


def test_rows_are_the_same_everywhere(data: LocalStore, document: Any) -> None:
    sample = document("get", data.root, 33)["sample"]
    assert sample["id"] == 33
    assert sample["name"] == make(33)["name"]
