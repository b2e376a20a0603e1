"""The commands on a dataset of tokens."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import chunk_files, everything, flip, manifest_file
from documents import of_lengths, write

from millstream.store import LocalStore
from millstream.versions import load_version
from millstream.writing.commit import publish

LENGTHS = [40, 0, 250, 3, 30, 100]


@pytest.fixture
def data(tmp_path: Path) -> LocalStore:
    return LocalStore(write(tmp_path / "d", of_lengths(LENGTHS), chunk_size=100))


def test_info_and_ls_count_tokens(data: LocalStore, run: Any, document: Any) -> None:
    _, out, _ = run("info", data.root)
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    assert lines["tokens"] == ["423"]
    assert lines["settings"] == ["chunk_size", "100,", "item_loader", "tokens"]
    assert lines["value"] == ["ndarray", "uint16", "varies", "106", "B"]  # 846 bytes, 8 rows
    assert document("info", data.root)["tokens"] == 423
    _, out, _ = run("ls", data.root)
    titles, *rows = [line.split() for line in out.splitlines()]
    assert titles == ["CHUNK", "FIRST", "LAST", "ROWS", "TOKENS", "SIZE", "DIGEST"]
    assert [row[4] for row in rows] == ["40", "100", "100", "83", "100"]
    chunks = document("ls", data.root)["chunks"]
    assert [chunk["tokens"] for chunk in chunks] == [40, 100, 100, 83, 100]


def test_get_prints_a_document(data: LocalStore, run: Any) -> None:
    code, out, _ = run("get", data.root, 5)
    assert code == 0
    assert out.splitlines()[-1].split() == [
        "value",
        "ndarray",
        "uint16",
        "(3,)",
        "[290,",
        "291,",
        "292]",
    ]


def test_verify_names_the_documents(data: LocalStore, run: Any) -> None:
    assert run("verify", data.root)[0] == 0
    path = chunk_files(data)[3]
    flip(path, path.stat().st_size - 2)
    code, out, _ = run("verify", data.root)
    assert code == 1
    assert "rows 4 to 6, field value: does not match its checksum" in out


def test_verify_compares_the_counts(data: LocalStore, tmp_path: Path, run: Any) -> None:
    manifest = load_version(data).manifest
    assert manifest.chunks.tokens is not None
    other = LocalStore(tmp_path / "other")
    shutil.copytree(data.root / "chunks", other.root / "chunks")
    tokens = manifest.chunks.tokens.copy()
    tokens[2] += 5
    publish(other, replace(manifest, chunks=replace(manifest.chunks, tokens=tokens)))
    code, out, _ = run("verify", other.root)
    assert code == 1
    assert "holds 100 tokens, the manifest lists 105 tokens" in out


def test_repair_gives_back_the_counts(data: LocalStore, run: Any) -> None:
    before = everything(data.root)
    manifest_file(data).unlink()
    assert run("repair", data.root)[0] == 0
    assert everything(data.root) == before


def test_tokens_are_written_from_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("seven\nfour\n")
    Path("tokenizing.py").write_text(
        "import numpy as np\ndef tokenize(text): return np.frombuffer(text.encode(), np.uint8)\n"
    )
    line = ["optimize", "tokenizing:tokenize", "@words.txt", "out", "--tokens", "--workers", 0]
    assert run(*line)[0] == 0
    assert load_version(LocalStore(tmp_path / "out")).manifest.tokens == 9
