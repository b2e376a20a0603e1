"""repair(): makes a dataset readable again whose manifests were damaged or lost.

What survives is trusted first. Only where no manifest can be read is one rebuilt, from the
chunks of one job, and then only if nothing speaks against it. Nothing is ever deleted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from millstream.errors import CorruptData, UsageError
from millstream.format import Manifest
from millstream.format.keys import version_key
from millstream.store import Store
from millstream.writing.commit import companions, publish
from millstream.writing.folder import job_place, unfinished
from millstream.writing.holdings import is_job
from millstream.writing.inventory import Inventory, take_inventory
from millstream.writing.rebuild import (
    Advance,
    check_digests,
    check_job,
    choose_job,
    find_jobs,
    rebuild,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What is to be done, or was done.

    newest: the version that readers then find. aside: damaged versions by number, with the key
    that each is moved to. put: objects that go with the newest version and have to be written
    again. rebuilt: the manifest to publish, if it was lost. job: whose chunks it was made of.
    notes: what one must know.
    """

    newest: int
    aside: Mapping[int, str]
    put: Mapping[str, bytes]
    rebuilt: Manifest | None = None
    job: str | None = None
    notes: tuple[str, ...] = ()


def repair(
    store: Store,
    *,
    job: str | None = None,
    dry_run: bool = False,
    threads: int = 1,
    advance: Advance = lambda nbytes: None,
) -> Repair:
    """Makes the newest version that can be had readable.

    job: the digest (or its start) of the job to rebuild from, where chunks of several are here.
    advance: told of bytes read. Raises CorruptData, DatasetNotFound, UsageError for what cannot
    be repaired, and why; OutputBusy while a job writes here.
    """
    with unfinished(store) as recorded:
        inventory = take_inventory(store)
        if manifests := inventory.manifests:
            plan = plan_restore(inventory, manifests[max(manifests)], job)
            plan = replace(plan, put=_changed(store, plan.put))
        else:
            _refuse_rebuild(store, inventory, recorded)
            plan = _plan_rebuild(store, inventory, job, threads, advance)
        if not dry_run:
            _apply(store, plan)
    return plan


def plan_restore(inventory: Inventory, newest: Manifest, job: str | None) -> Repair:
    """What has to be there with the newest version, and what has to go out of readers' way."""
    damaged = inventory.damaged
    above = [number for number in damaged if number > newest.version]
    notes = [f"version {number} was damaged: {damaged[number]}" for number in above]
    notes += [
        f"version {number} is damaged too, and left where it is: {damaged[number]}"
        for number in sorted(damaged.keys() - above)
    ]
    missing = [n for n in range(1, newest.version) if n not in inventory.versions]
    notes += [f"version {number} is missing" for number in missing]
    if inventory.latest > max(inventory.versions):
        notes.append(f"the hint named version {inventory.latest}, which is missing")
    if job is not None:
        notes.append(f"version {newest.version} can be read, so nothing is rebuilt from a job")
    return Repair(
        newest=newest.version,
        aside=_aside(inventory, above),
        put=companions(newest),
        notes=tuple(notes),
    )


def _aside(inventory: Inventory, numbers: list[int]) -> dict[int, str]:
    """A free key for each damaged version."""
    taken = {found.key for found in inventory.objects}
    free = {}
    for number in numbers:
        key, tries = f"{version_key(number)}.damaged", 1
        while key in taken:
            tries += 1
            key = f"{version_key(number)}.damaged-{tries}"
        free[number] = key
    return free


def _changed(store: Store, wanted: Mapping[str, bytes]) -> dict[str, bytes]:
    def is_there(key: str, content: bytes) -> bool:
        try:
            return store.get(key) == content
        except FileNotFoundError:
            return False

    return {key: content for key, content in wanted.items() if not is_there(key, content)}


def _refuse_rebuild(store: Store, inventory: Inventory, recorded: frozenset[str] | None) -> None:
    if recorded is not None:
        names = sorted(filter(is_job, job_place(store).names()))
        raise UsageError(
            f"{inventory.place} holds an unfinished job and no version yet: run the same call "
            f"again, it goes on; or remove {inventory.place}/{', '.join(names)} to give it up"
        )
    if pruned := sorted(inventory.versions.keys() - inventory.damaged.keys()):
        raise CorruptData(
            f"{inventory.place}: versions {pruned} were pruned and no other can be read; what a "
            "later version was made of cannot be told from the chunks. Copy its manifest back"
        )


def _plan_rebuild(
    store: Store, inventory: Inventory, job: str | None, threads: int, advance: Advance
) -> Repair:
    found = find_jobs(store, inventory.objects, threads=threads)
    chosen = choose_job(found, job, inventory.place)
    notes = check_job(found, chosen)
    beside = _beside(store)
    manifest = rebuild(chosen, None if chosen.record or beside is None else beside["settings"])
    if beside is not None:
        _compare(manifest, beside)
        notes = []  # it says how many chunks there were, and the settings
    check_digests(store, chosen, threads=threads, advance=advance)
    notes += [f"version {number} was damaged: {e}" for number, e in inventory.damaged.items()]
    return Repair(
        newest=1,
        aside=_aside(inventory, sorted(inventory.damaged)),
        put={},
        rebuilt=manifest,
        job=chosen.digest,
        notes=tuple(notes),
    )


def _beside(store: Store) -> dict[str, Any] | None:
    """The JSON beside version 1, if it survived: what the lost manifest held, but for digests."""
    try:
        value = json.loads(store.get(f"{version_key(1)}.json"))
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("settings"), dict) else None


def _compare(manifest: Manifest, beside: Mapping[str, Any]) -> None:
    summary = json.loads(json.dumps(manifest.summary()))
    differing = sorted(key for key in {*summary, *beside} if summary.get(key) != beside.get(key))
    if differing:
        told = "; ".join(
            f"{key}: {str(summary.get(key))[:60]} here, {str(beside.get(key))[:60]} there"
            for key in differing
        )
        raise CorruptData(
            f"the chunks here do not make the version that {version_key(1)}.json describes "
            f"({told}). Copy the missing chunks back; if that file is of no use, move it away"
        )


def _apply(store: Store, plan: Repair) -> None:
    for number, key in plan.aside.items():
        store.copy(version_key(number), key)
        store.delete(version_key(number))
    for key, content in plan.put.items():
        store.put(key, content)
    if plan.rebuilt is not None:
        job_place(store).sync()
        publish(store, plan.rebuilt)
