"""The S3 server of the benchmarks, a proxy before it that counts, and what lies on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from trials.bucket import Bucket

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from servers.faultproxy import FaultProxy
from servers.seaweedfs import FULL, REGION, SeaweedFS
from servers.tally import Tally

BUCKET = "millstream"


@dataclass(slots=True)
class Count:
    """What went through the proxy; filled in at the end."""

    tally: Tally | None = None

    def figures(self, asked: int) -> dict[str, int]:
        """asked: the bytes that somebody wanted; extra_bytes are all the others."""
        if self.tally is None or not asked:
            return {}
        return {
            "bytes_down": self.tally.bytes_out,
            "extra_bytes": self.tally.bytes_out - asked,
            "requests": self.tally.requests,
        }


class Remote:
    """Starts the server when it is first needed, and ends it. What is uploaded stays till then."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._server: SeaweedFS | None = None
        self._proxy: FaultProxy | None = None
        self._uploaded: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def upload(self, folder: Path, prefix: str) -> None:
        """Every file below a folder, unless it has been done before."""
        from millstream.store import open_store

        if prefix in self._uploaded:
            return
        with open_store(f"s3://{BUCKET}/{prefix}", self._started().options()) as store:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                store.put_file(path.relative_to(folder).as_posix(), path)
        self._uploaded.add(prefix)

    def bucket(self, *, proxied: bool = False) -> dict[str, Any]:
        """For a trial; see trials/bucket.py."""
        server = self._started()
        endpoint = self._proxied().url if proxied else server.endpoint
        return asdict(
            Bucket(
                name=BUCKET,
                endpoint=endpoint,
                access_key=FULL.access_key,
                secret_key=FULL.secret_key,
                region=REGION,
            )
        )

    @contextmanager
    def counted(self) -> Iterator[Count]:
        """Counts what goes through the proxy in this block."""
        proxy, count = self._proxied(), Count()
        proxy.reset()
        yield count
        count.tally = proxy.tally()

    def _started(self) -> SeaweedFS:
        if self._server is None:
            folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="millstream-s3-")))
            self._server = self._stack.enter_context(SeaweedFS(folder, buckets=[BUCKET]))
        return self._server

    def _proxied(self) -> FaultProxy:
        if self._proxy is None:
            self._proxy = self._stack.enter_context(FaultProxy(self._started().endpoint))
        return self._proxy
