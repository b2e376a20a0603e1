"""Encrypted jobs: killed at any moment they go on, and no plaintext is ever on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from encryption.kinds import NAMES, PASSWORD, RSA, aes, all_kinds, fernet
from encryption.secret_data import sample, seen_in
from kills import Life, live
from strategies import same

import millstream as ms
from millstream.errors import CannotDecrypt, OutputNotEmpty, UsageError
from millstream.reading.dataset import stream_of
from millstream.reading.verify import check_bytes
from millstream.store import LocalStore
from millstream.utilities.encryption import Encryption, RSAEncryption
from millstream.versions import load_version
from millstream.writing import gather, tasks

pytestmark = pytest.mark.timeout(200)

INPUTS = 14
CALLS: list[int] = []


def fn(i: int) -> Iterator[Any]:
    CALLS.append(i)
    for n in range(1 + i % 2):
        yield sample(2 * i + n)


ROWS = [2 * i + n for i in range(INPUTS) for n in range(1 + i % 2)]


def job(folder: Path, encryption: Encryption | None, **options: Any) -> Any:
    options = {"num_workers": 0, "chunk_bytes": "2kB", **options}
    return ms.optimize(fn, range(INPUTS), folder, encryption=encryption, verbose=False, **options)


@pytest.fixture(autouse=True, scope="module")
def two_inputs_a_task() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "MAX_TASKS", INPUTS // 2)
        yield


def cuts(folder: Path) -> list[int]:
    return load_version(LocalStore(folder)).manifest.chunks.rows.tolist()


@pytest.fixture(scope="module")
def plain_cuts(tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    folder = tmp_path_factory.mktemp("plain") / "d"
    job(folder, None)
    assert len(cuts(folder)) >= 5
    return cuts(folder)


def check(folder: Path, key: Encryption, plain_cuts: list[int]) -> None:
    """It holds all rows, in order and cut as those of a plain job, and no more."""
    dataset = ms.StreamingDataset(folder, encryption=key)
    assert same(list(dataset), [sample(i) for i in ROWS])
    assert cuts(folder) == plain_cuts
    table = stream_of(dataset).source.manifest.chunks
    names = {table.name(number) for number in range(len(table))}
    assert {path.name for path in (folder / "chunks").iterdir()} == names
    assert not (folder / ".job").exists()


def finished_tasks(life: Life) -> set[int]:
    names = [Path(change.path) for change in life.done if change.event == "os.rename"]
    return {int(path.name) for path in names if path.parent.name == "segments"}


@pytest.mark.parametrize(
    ("level", "compression", "every"),
    [("sample", None, 2), ("chunk", None, 7), ("sample", "zstd", 7), ("chunk", "zstd", 7)],
)
def test_killed_before_a_change_to_the_disk(
    tmp_path: Path, plain_cuts: list[int], level: str, compression: str | None, every: int
) -> None:
    options = {"compression": compression}
    whole = live(lambda: job(tmp_path / "0", aes(level=level), **options), tmp_path)
    assert not whole.killed
    for number in range(1, len(whole.changes) + 1, every):
        folder = tmp_path / f"{number}"

        def work(folder: Path = folder) -> None:
            job(folder, aes(level=level), **options)

        life = live(work, tmp_path, number)
        assert life.killed
        assert not seen_in(tmp_path)
        CALLS.clear()
        report = job(folder, aes(level=level), **options)
        done = finished_tasks(life)
        assert [i for i in range(INPUTS) if i // 2 not in done] == CALLS
        assert report.already_done == any(c.event == "os.link" for c in life.done)
        check(folder, aes(), plain_cuts)
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", all_kinds(), ids=NAMES)
def test_any_number_of_workers_gives_the_same_rows(
    tmp_path: Path, plain_cuts: list[int], kind: Encryption
) -> None:
    for workers in (0, 2):
        job(tmp_path / f"{workers}", kind, num_workers=workers)
        check(tmp_path / f"{workers}", kind, plain_cuts)


def test_a_job_that_was_stopped_goes_on_with_its_password_alone(
    tmp_path: Path, plain_cuts: list[int]
) -> None:
    folder = tmp_path / "d"
    steps = len(live(lambda: job(tmp_path / "0", fernet()), tmp_path).changes)
    assert live(lambda: job(folder, fernet()), tmp_path, steps // 2).killed
    for other, error in [
        (fernet("another password"), CannotDecrypt),
        (None, OutputNotEmpty),
        (aes(), OutputNotEmpty),
        (fernet(level="chunk"), OutputNotEmpty),
    ]:
        with pytest.raises(error) as raised:
            job(folder, other)
        assert PASSWORD not in str(raised.value)
    job(folder, fernet())
    check(folder, fernet(), plain_cuts)
    # And so does the call for one that is finished.
    assert job(folder, fernet()).already_done
    with pytest.raises(CannotDecrypt, match="another one"):
        job(folder, fernet("another password"))


def test_a_job_with_the_public_key_alone_makes_segments_again(
    tmp_path: Path, plain_cuts: list[int]
) -> None:
    RSA.save_public_key(tmp_path / "public.pem")
    writer = RSAEncryption.load_public_key(tmp_path / "public.pem")
    steps = len(live(lambda: job(tmp_path / "0", writer), tmp_path / "0").changes)
    for number in range(1, steps + 1, 7):
        folder = tmp_path / f"{number}"
        assert live(lambda folder=folder: job(folder, writer), folder, number).killed  # type: ignore[misc]
        job(folder, writer)
        check(folder, RSA, plain_cuts)


def test_what_is_written_down_of_a_job_holds_no_secret(tmp_path: Path) -> None:
    kinds = [fernet(), aes(), RSA]
    for number, kind in enumerate(kinds):
        folder = tmp_path / f"{number}"
        steps = len(live(lambda: job(folder, kind), folder).changes)  # noqa: B023
        shutil.rmtree(folder)
        live(lambda: job(folder, kind), folder, steps // 2)  # noqa: B023
        stopped = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        job(folder, kind)
        files = stopped + [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        hidden = [PASSWORD.encode(), b"PRIVATE KEY"]
        if kind is not RSA:
            made = kind._password.key(kind._kdf)  # type: ignore[attr-defined]
            hidden += [made, made.hex().encode()]
        assert not [secret for secret in hidden for content in files if secret in content]


def test_a_large_room_for_files_is_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are inputs are read into it when their chunk is built."""
    monkeypatch.setattr(gather, "KEPT_BYTES", 100)
    monkeypatch.setattr(gather, "_file_room", lambda *args: pytest.fail("a file"))
    paths = [tmp_path / f"{i}.bin" for i in range(5)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * 1_000)
    ms.optimize(
        lambda path: {"data": ms.File(path)}, paths, tmp_path / "d", encryption=aes(),
        num_workers=0, verbose=False,
    )  # fmt: skip
    dataset = ms.StreamingDataset(tmp_path / "d", encryption=aes())
    assert [s["data"] for s in dataset] == [path.read_bytes() for path in paths]


def test_verify_needs_no_key_and_finds_each_changed_byte(tmp_path: Path) -> None:
    for level in ("sample", "chunk"):
        folder = tmp_path / level
        job(folder, aes(level=level))
        store = LocalStore(folder)
        manifest = load_version(store).manifest
        assert not any(c.findings for c in check_bytes(store, manifest, threads=1))
        path = store.path(f"chunks/{manifest.chunks.name(2)}")
        content = bytearray(path.read_bytes())
        for at in range(0, len(content), 37):
            content[at] ^= 1
            path.write_bytes(content)
            content[at] ^= 1
            (bad,) = [c for c in check_bytes(store, manifest, threads=1) if c.findings]
            assert bad.findings[0].chunk == 2


def test_tokens_are_encrypted_by_chunk(tmp_path: Path) -> None:
    import numpy as np

    loader = ms.TokensLoader()
    documents = [np.arange(i * 10, i * 10 + 7 + i, dtype=np.uint16) for i in range(20)]
    with pytest.raises(UsageError, match='level="chunk"'):
        ms.optimize(
            documents.__getitem__, range(20), tmp_path / "no", item_loader=loader,
            encryption=fernet(), verbose=False,
        )  # fmt: skip
    assert not (tmp_path / "no").exists()
    for compression in (None, "zstd", "zstd/chunk"):
        folder = tmp_path / f"{compression}".replace("/", " ")
        ms.optimize(
            documents.__getitem__, range(20), folder, item_loader=loader, chunk_size=100,
            encryption=fernet(level="chunk"), compression=compression, num_workers=0, verbose=False,
        )  # fmt: skip
        assert len(cuts(folder)) > 2
        line = np.concatenate(documents)
        blocks = ms.StreamingDataset(folder, item_loader=ms.TokensLoader(13), encryption=fernet())
        assert np.array_equal(np.concatenate(blocks[:]), line[: len(line) // 13 * 13])
        whole = ms.StreamingDataset(folder, encryption=fernet())
        assert all(map(np.array_equal, whole[:], documents))
