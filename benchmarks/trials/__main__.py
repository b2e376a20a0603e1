"""python -m trials ORDER: one trial, or a survey of what a driver can do.

ORDER is JSON, and so is the one line that this prints.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import sys
import traceback
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import workloads
from peers import Peer, Skip, peer
from trials.bucket import Bucket
from trials.trial import Trial

FAILED = "failed"
SKIPPED = "skipped"


def main(order: dict[str, Any]) -> dict[str, Any]:
    """What the trial found: figures, or why there are none."""
    one = peer(order["peer"])
    try:
        driver = one.driver()
    except ImportError as error:
        return {FAILED: f"cannot be imported: {error}"}
    if order.get("survey"):
        methods = [name for name in dir(driver) if not name.startswith("_")]
        return {"version": _version(one), "methods": methods}
    trial = Trial(
        driver=driver,
        method=getattr(driver, order["method"]),
        scale=workloads.SCALES[order["scale"]],
        workers=order["workers"],
        place=Path(order["place"]),
        bucket=Bucket(**order["bucket"]) if order.get("bucket") else None,
        prefix=order.get("prefix", ""),
        cache=Path(order["cache"]) if order.get("cache") else None,
        state=Path(order["state"]) if order.get("state") else None,
        chunks=order.get("chunks", 0),
    )
    if hasattr(driver, "import_for"):
        driver.import_for(order["method"])
    module, _, function = order["run"].partition(":")
    gc.collect()
    try:
        found = getattr(importlib.import_module(f"trials.{module}"), function)(trial)
    except Skip as reason:
        return {SKIPPED: str(reason)}
    except Exception as error:
        traceback.print_exc()
        return {FAILED: f"{type(error).__name__}: {error}"[:400]}
    return found


def _version(one: Peer) -> str:
    try:
        return version(one.package)
    except (PackageNotFoundError, ValueError):
        return ""


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    # The libraries print as well; what is found goes to where standard output was.
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(main(json.loads(sys.argv[1]))), file=told, flush=True)
    told.close()
    sys.stderr.flush()
    # Some libraries leave threads that never end; the process group is ended by who started it.
    os._exit(0)
