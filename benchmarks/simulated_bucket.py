"""A bucket that has no bytes of chunks, and counts what it is asked for: for cluster_scale.py."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from millstream.errors import ObjectNotFound
from millstream.format.keys import version_key
from millstream.store.protocol import Folder, ObjectInfo

KEYS_A_PAGE = 1_000
RECORD_BYTES = 512
RECORDS, SEGMENTS, CHUNKS = ".job/chunks/", ".job/segments/", "chunks/"
KEPT = (".job/job.json", ".job/inputs")


class Timed:
    """CPU seconds that threads spend in its blocks."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self._lock = threading.Lock()
        self._since = threading.local()

    def __enter__(self) -> None:
        self._since.cpu = time.thread_time()

    def __exit__(self, *error: object) -> None:
        took = time.thread_time() - self._since.cpu
        with self._lock:
            self.cpu += took


class SimulatedBucket:
    """Small objects are kept in memory, records of chunks in a file, where another process finds
    them as they were when the version was published. calls: of the driver, by kind; spent: on being
    the bucket."""

    def __init__(self, folder: Path) -> None:
        self._kept = folder / "small.json"
        self._records = os.open(folder / "records", os.O_RDWR | os.O_CREAT)
        self.small: dict[str, bytes] = {}
        self._segments: set[str] = set()
        self.most_segments = 0
        self.sizes: dict[str, int] = {}  # of small objects, also when they are gone
        self.published_at = 0.0
        self.calls: Counter[str] = Counter()
        self.spent = Timed()
        self._lock = threading.Lock()
        if self._kept.exists():
            for key, content in json.loads(self._kept.read_text()).items():
                self._keep(key, bytes.fromhex(content))

    def __str__(self) -> str:
        return f"s3://simulated/{self._kept.parent.name}"

    def made(self, task: int) -> None:
        """A machine has put a segment, and its outline."""
        with self._lock:
            self._segments |= {
                f"{SEGMENTS}{task:06}/0123456789abcdef",
                f"{SEGMENTS}{task:06}/outline",
            }
            self.most_segments = max(self.most_segments, len(self._segments) // 2)

    def record(self, sequence: int, content: bytes) -> None:
        """A machine has put a chunk, and its record."""
        os.pwrite(self._records, content.ljust(RECORD_BYTES), sequence * RECORD_BYTES)

    def get(self, key: str, span: Any = None) -> bytes:
        """Counts as a record of a chunk, or as another object."""
        with self.spent:
            if key.startswith(RECORDS):
                self._count("get a record")
                number = int(key.removeprefix(RECORDS).removesuffix(".json"))
                return os.pread(self._records, RECORD_BYTES, number * RECORD_BYTES)
            self._count("get another")
            if key not in self.small:
                raise ObjectNotFound(key)
            return self.small[key]

    def size(self, key: str) -> int:
        return len(self.get(key))

    def put(self, key: str, content: bytes) -> None:
        self._count("put")
        self._keep(key, content)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """With a version, the bucket is kept as it was before."""
        self._count("put if absent")
        if key == version_key(1):
            self.published_at = time.perf_counter()
            kept = {key: some.hex() for key, some in self.small.items() if key in KEPT}
            self._kept.write_text(json.dumps(kept))
        elif key in self.small:
            return False
        self._keep(key, content)
        return True

    def _keep(self, key: str, content: bytes) -> None:
        self.small[key], self.sizes[key] = content, len(content)

    def check_conditional_put(self) -> None:
        pass

    def delete(self, key: str) -> None:
        """Of what is counted by kind as it is named."""
        with self._lock:
            self.calls["delete a record" if key.startswith(RECORDS) else "delete another"] += 1
            self._segments.discard(key)
        self.small.pop(key, None)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Counts pages."""
        number = -1
        for number, (key, size) in enumerate(self._found(prefix)):
            if number % KEYS_A_PAGE == 0:
                self._count("list a page")
            yield ObjectInfo(key=key, size=size, modified=0.0)
        if number < 0:
            self._count("list a page")

    def _found(self, prefix: str) -> Iterator[tuple[str, int]]:
        with self.spent, self._lock:
            some = [key for key in (*self.small, *self._segments) if key.startswith(prefix)]
        yield from ((key, len(self.small.get(key, b""))) for key in some)
        count = os.fstat(self._records).st_size // RECORD_BYTES
        if RECORDS.startswith(prefix):
            yield from ((f"{RECORDS}{number:06}.json", RECORD_BYTES) for number in range(count))
        if prefix == CHUNKS:
            for number in range(count):
                with self.spent:
                    content = os.pread(self._records, RECORD_BYTES, number * RECORD_BYTES)
                    chunk = json.loads(content)["chunk"]
                yield CHUNKS + chunk["digest"], chunk["size"]

    def folder(self, prefix: str) -> Folder:
        """What a job looks at that begins, or goes on."""
        self._count("list a page")
        return Folder(folders=sorted({key.partition("/")[0] for key in self.small}), objects=[])

    def _count(self, kind: str) -> None:
        with self._lock:
            self.calls[kind] += 1
