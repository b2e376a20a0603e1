"""Where a run stands, and how that is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millstream.errors import StateMismatch, UsageError
from millstream.plan.version import compare_versions

STATE_FORMAT = 1

# What a setting is called where it is given.
_MEANINGS = {
    "block_size": "block_size (of the TokensLoader)",
    "selection": "the selected rows (subsample or split)",
    "chunks": "the rows of the dataset's chunks",
    "window": "shuffle_window",
    "windows": "shuffle_window",
    "global_batch": "batch_size times ranks, which per_stream plans with,",
    "datasets": "the datasets' orders",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The next position to read, and the epoch that it is in."""

    epoch: int
    position: int

    def __post_init__(self) -> None:
        for value in (self.epoch, self.position):
            if type(value) is not int or not 0 <= value < 1 << 63:
                raise UsageError("an epoch and a position are integers from 0, below 2**63")


def state(cursor: Cursor, settings: Mapping[str, Any], version: str) -> dict[str, Any]:
    """A cursor with the order and the version that give it its meaning; JSON-able.

    settings: what `Order.settings` gives. version: the digest of the dataset's version.
    """
    return {
        "format": STATE_FORMAT,
        "epoch": cursor.epoch,
        "position": cursor.position,
        "order": dict(settings),
        "version": version,
    }


def restore(saved: Mapping[str, Any], settings: Mapping[str, Any], version: str) -> Cursor:
    """The cursor of a saved state.

    Raises StateMismatch, naming what differs, if the order or the version is another one, and
    UsageError for what is no state.
    """
    match saved:
        case {
            "format": int(number),
            "epoch": int(epoch),
            "position": int(position),
            "order": Mapping() as order,
            "version": str(saved_version),
        }:
            pass
        case _:
            raise UsageError(f"not a state of this library: {str(saved)[:120]}")
    if number != STATE_FORMAT:
        raise UsageError(
            f"the state has format {number}, this version of the library reads {STATE_FORMAT}; "
            "use the version that saved it, or a newer one"
        )
    compare_versions(saved_version, version)
    _compare_settings(order, settings)
    return Cursor(epoch=epoch, position=position)


def _compare_settings(saved: Mapping[Any, Any], present: Mapping[str, Any]) -> None:
    # First what only one of them has: it may be why others differ.
    names = dict.fromkeys([*present, *saved])
    for name in sorted(names, key=lambda name: name in present and name in saved):
        was, now = saved.get(name, "not set"), present.get(name, "not set")
        if type(was) is not type(now) or was != now:
            which, was, now = _narrowed(was, now)
            of = f" of {which}" if which else ""
            raise StateMismatch(
                f"the state was saved with another order: {_MEANINGS.get(name, name)}{of} was "
                f"{_short(was)}, is {_short(now)}. Give the same settings, or start anew without "
                "the state"
            )


def _narrowed(was: Any, now: Any) -> tuple[str, Any, Any]:
    """Of two lists with an item a dataset: which dataset it is where they differ, and its items."""
    if isinstance(was, list) and isinstance(now, list) and 1 < len(was) == len(now):
        number = next(n for n, (a, b) in enumerate(zip(was, now, strict=True)) if a != b)
        return f"dataset {number}", was[number], now[number]
    return "", was, now


def _short(value: object) -> str:
    return repr(value)[:60]
