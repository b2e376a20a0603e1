"""Memory that the processes of a rank share: one for all, bounded, and safe from who dies."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scripts import start

import millstream as ms
from millstream.reading import lending, sharing
from millstream.reading.dataset import stream_of
from millstream.reading.lending import Borrower, Holdings, Lender
from millstream.reading.sharing import SharedMemories


def in_child(work: Callable[[], object]) -> int:
    """Runs something in a fork; its exit code, or minus the signal that ended it."""
    if not (child := os.fork()):
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_fork_and_a_copy_have_the_same_memory() -> None:
    memories = SharedMemories()
    content = pickle.dumps(memories)
    memory = memories("chunk", 1000)
    memory.write(10, b"from the parent")

    def child() -> None:
        for theirs in (memories, pickle.loads(content)):
            found = theirs("chunk", 1000)
            assert found.content[10:25].tobytes() == b"from the parent"
            found.write(500, b"from the child")

    assert in_child(child) == 0
    assert memory.content[500:514].tobytes() == b"from the child"


def test_two_datasets_share_nothing() -> None:
    one, other = SharedMemories(), SharedMemories()
    one("chunk", 10).write(0, b"secret")
    assert not other("chunk", 10).content.any()
    assert not one("another", 10).content.any()


def test_what_readers_get_cannot_be_written_to() -> None:
    memory = SharedMemories()("chunk", 10)
    with pytest.raises(ValueError, match="read-only"):
        memory.content[0] = 1


def test_a_lock_excludes_other_processes_and_ends_with_its_holder() -> None:
    memories = SharedMemories()
    ready, told = os.pipe()

    def child() -> None:
        with memories("chunk", 10).lock(3):
            os.write(told, b"x")
            signal.pause()

    if not (holder := os.fork()):
        child()
        os._exit(1)
    assert os.read(ready, 1) == b"x"
    memory = memories("chunk", 10)
    with memory.lock(4), pytest.raises(BlockingIOError):
        # The same lock as `lock(3)` takes, without waiting for it.
        descriptor, first = memory._locks  # type: ignore[attr-defined]
        sharing.fcntl.lockf(descriptor, sharing.fcntl.LOCK_EX | sharing.fcntl.LOCK_NB, 1, first + 3)
    os.kill(holder, signal.SIGKILL)
    with memory.lock(3):
        pass
    os.waitpid(holder, 0)
    os.close(ready)
    os.close(told)


def test_holdings_have_a_bound_in_bytes_and_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lending, "MOST", 5)
    holdings = Holdings(1000)
    for number in range(40):
        os.close(holdings.descriptor((b"t", f"{number}"), 60 * (number % 5 + 1)))
        assert len(holdings._held) <= 5
        assert sum(lent.size for lent in holdings._held.values()) == holdings._nbytes <= 1000
    os.close(holdings.descriptor((b"t", "large"), 5000))  # one may be larger, alone
    assert list(holdings._held) == [(b"t", "large")]
    holdings.close()


def test_what_is_given_up_is_read_on_and_not_given_out_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing, "free_memory", lambda: 4 * 1000)
    memories = SharedMemories()
    first = memories("1", 600)
    first.write(0, b"kept")
    assert first.is_current
    memories("2", 600)
    assert not first.is_current
    assert first.content[:4].tobytes() == b"kept"
    assert not memories("1", 600).content.any()


@pytest.mark.parametrize("how", ["zstd", "zstd/frame", "zstd/chunk"])
def test_with_too_little_memory_everything_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(sharing, "free_memory", lambda: 40_000)
    ms.optimize(
        lambda i: {"id": i, "text": f"text {i} " * 9}, range(900), tmp_path, compression=how,
        chunk_bytes="9kB", num_workers=0, verbose=False,
    )  # fmt: skip
    dataset = ms.StreamingDataset(tmp_path, shuffle=True)
    held = list(dataset)
    assert sorted(row["id"] for row in held) == list(range(900))
    assert all(row["text"] == f"text {row['id']} " * 9 for row in held)
    memories = stream_of(dataset).source._memories
    assert memories is not None
    current = [one for one in memories._held.values() if one.is_current]
    assert sum(len(one.content) for one in current) <= 10_000


def test_arrays_outlive_their_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "free_memory", lambda: 40_000)
    ms.optimize(
        lambda i: np.full(i % 5 + 1, i), range(600), tmp_path, compression="zstd/chunk",
        chunk_bytes="9kB", num_workers=0, verbose=False,
    )  # fmt: skip
    dataset = ms.StreamingDataset(tmp_path)
    found = [dataset[i] for i in range(600)]
    assert all(np.array_equal(array, np.full(i % 5 + 1, i)) for i, array in enumerate(found))


def test_who_borrowed_from_one_that_ended_has_its_own() -> None:
    process = start(
        """
        import pickle
        from millstream.reading.sharing import SharedMemories
        memories = SharedMemories()
        memories("chunk", 10).write(0, b"theirs")
        print(pickle.dumps(memories).hex())
        """
    )
    content, _ = process.communicate()
    memories = pickle.loads(bytes.fromhex(content))
    assert not memories("chunk", 10).content.any()
    memories("chunk", 10).write(0, b"ours")
    assert memories("chunk", 10).content[:4].tobytes() == b"ours"


def test_who_ends_while_asking_leaves_the_others_served() -> None:
    lender = Lender(1000)
    address = lender.listen()
    with socket.socket(socket.AF_UNIX) as half:
        half.connect(address)
        half.sendall(b"\1\0\0")
    borrower = Borrower(address)
    first, second = (borrower.descriptor((b"t", "a"), 100) for _ in range(2))
    assert os.fstat(first).st_ino == os.fstat(second).st_ino
    os.close(first)
    os.close(second)


def test_a_lender_ends_with_its_last_dataset() -> None:
    lender = Lender(1000)
    address = lender.listen()
    borrower = Borrower(address)
    del lender
    with pytest.raises(ConnectionError):
        while True:  # until its thread has heard of it
            os.close(borrower.descriptor((b"t", "a"), 100))
    with pytest.raises(ConnectionError):
        Borrower(address)


def test_others_of_another_user_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lender = Lender(1000)
    address = lender.listen()
    monkeypatch.setattr(lending.os, "getuid", lambda: 12345)
    with pytest.raises(ConnectionError, match="another user"):
        Borrower(address)
