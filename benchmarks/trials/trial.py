"""What a trial is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import workloads
from trials.bucket import Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run of one workload.

    method: of the driver, see peers/__init__.py. place: where the library's data of that kind
    lies, or will. bucket, prefix, cache: for remote data. state: the file that an interrupted run
    leaves. chunks: of an index.
    """

    driver: Any
    method: Callable[..., Any]
    scale: workloads.Scale
    workers: int
    place: Path
    bucket: Bucket | None = None
    prefix: str = ""
    cache: Path | None = None
    state: Path | None = None
    chunks: int = 0
