"""One run at a time on one job in a bucket, which has no locks: a claim, and who may take it.

The claim is the object `owner` in the folder of the job, made by put_if_absent. Its id is noted in
the scratch folder of the run, which the kernel unlocks when the run's process dies: so a run that
has that folder's lock and finds its id in the bucket knows that whoever made the claim is gone,
and goes on with it.
Anything else is for a person to decide, since no bucket can tell a machine that is gone from one
that is slow. A wrong decision costs work done twice and never a dataset: both runs have one job,
chunks are named by their content, and of two manifests one wins.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import time

from millstream.errors import OutputBusy
from millstream.store import Store
from millstream.writing.placed import read_object
from millstream.writing.scratch import Scratch


def claim(store: Store, owner: str, scratch: Scratch, *, take_over: bool) -> str:
    """Claims a job and returns the claim's id; raises OutputBusy if another run has it.

    owner: the key of the claim.
    """
    mine = _noted(scratch)
    content = json.dumps(
        {
            "id": mine,
            "host": platform.node(),
            "pid": os.getpid(),
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
    ).encode()
    if not store.put_if_absent(owner, content):
        if not take_over and _owner(store, owner) not in (mine, None):
            raise busy(store, owner)
        store.put(owner, content)
    return mine


def release(store: Store, owner: str, mine: str) -> None:
    """Gives a job back, unless another run has taken it over."""
    if _owner(store, owner) == mine:
        store.delete(owner)


def busy(store: Store, owner: str) -> OutputBusy:
    """The refusal that says who is there."""
    found = _read(store, owner)
    who = f"process {found.get('pid')} on {found.get('host')} since {found.get('since')}"
    return OutputBusy(
        f"{store}: another job is writing here: {who}. Wait for it; if you know that it is gone, "
        f"pass take_over=True (--take-over), or delete {store}/{owner}"
    )


def _noted(scratch: Scratch) -> str:
    """The id that a killed run noted here, or a new one, noted before anybody can see it."""
    note = scratch.root / "owner"
    if note.exists() and (found := note.read_text()):
        return found
    mine = secrets.token_hex(16)
    note.write_text(mine)
    return mine


def _owner(store: Store, owner: str) -> str | None:
    return _read(store, owner).get("id")


def _read(store: Store, owner: str) -> dict[str, str]:
    try:
        return read_object(store.get(owner)) or {}
    except FileNotFoundError:
        return {}
