"""A forked process never waits for a client that did not survive the fork."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from servers.seaweedfs import SeaweedFS

SRC = Path(__file__).parents[2] / "src"
START = f"""
import json, os, pickle, signal, sys
signal.alarm(60)  # ends what hangs; a child has its own
sys.path.insert(0, {str(SRC)!r})
from millstream.errors import ForkedStore
from millstream.store import open_store
url, options = json.loads(sys.argv[1])

def in_child(work):
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(30)
            print(json.dumps(work()), flush=True)
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

def attempt(store):
    try:
        return bytes(store.get("a", (0, 7))).decode()
    except ForkedStore as error:
        return str(error)
"""


@pytest.fixture
def place(seaweedfs: SeaweedFS, prefix: str) -> str:
    return json.dumps([f"s3://millstream/{prefix}", seaweedfs.options()])


def run(code: str, place: str) -> list[str]:
    """What the program prints, line by line."""
    command = [sys.executable, "-W", "ignore", "-c", START + code, place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_after_use_a_child_is_refused_at_once_whatever_it_opens(place: str) -> None:
    told = run(
        """
store = open_store(url, options)
store.put("a", b"content")
in_child(lambda: attempt(store))
in_child(lambda: attempt(open_store(url, options)))
in_child(lambda: attempt(pickle.loads(pickle.dumps(store))))
in_child(lambda: attempt(open_store("http://127.0.0.1:1/a")))
print(json.dumps(attempt(store)))
""",
        place,
    )
    *children, parent = told
    assert parent == "content"
    assert len(children) == 4
    for said in children:
        for part in ("forked", "spawn", "forkserver", "StreamingDataset"):
            assert part in said


def test_a_grandchild_is_refused_too(place: str) -> None:
    told = run(
        """
store = open_store(url, options)
store.put("a", b"content")
in_child(lambda: in_child(lambda: attempt(store)))
""",
        place,
    )
    assert "forked" in told[0]


def test_before_use_a_child_may_do_what_it_likes(place: str) -> None:
    told = run(
        """
store = open_store(url, options)
in_child(lambda: store.put("a", b"content"))
in_child(lambda: attempt(store))
print(json.dumps(attempt(store)))
""",
        place,
    )
    assert told == [None, "content", "content"]


def test_local_stores_do_not_mind(tmp_path: Path, place: str) -> None:
    told = run(
        f"""
open_store(url, options).put("a", b"content")
store = open_store({str(tmp_path)!r})
store.put("a", b"on disk")
memory = open_store("memory://a")
memory.put("a", b"written")
in_child(lambda: [attempt(store), attempt(memory)])
""",
        place,
    )
    assert told == [["on disk", "written"]]
