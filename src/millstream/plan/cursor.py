"""Where a run stands, and how that is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millstream.errors import StateMismatch, UsageError

STATE_FORMAT = 1

# What a mismatch means to the person who reads the error.
_MEANINGS = {
    "selection": "the selected rows (subsample or split)",
    "chunks": "the rows of the dataset's chunks",
    "window": "shuffle_window",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The next position to read, of the next epoch to read from."""

    epoch: int
    position: int

    def __post_init__(self) -> None:
        if self.epoch < 0 or self.position < 0:
            raise UsageError(f"epoch {self.epoch}, position {self.position}; both count from 0")


def state(cursor: Cursor, settings: Mapping[str, Any], version: str) -> dict[str, Any]:
    """A cursor with the order and the version that give it its meaning; JSON-able."""
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
    cursor = _parse(saved)
    if saved["version"] != version:
        raise StateMismatch(
            f"the state was saved on version {str(saved['version'])[:16]} of a dataset, this is "
            f"version {version[:16]}. Open the version of the state with version=, or start anew"
        )
    order = saved["order"]
    for name in sorted({*settings, *order}):
        if settings.get(name) != order.get(name):
            raise StateMismatch(
                f"the state was saved with another order: {_MEANINGS.get(name, name)} was "
                f"{order.get(name)!r}, is {settings.get(name)!r}. Give the same settings, or start "
                "anew without the state"
            )
    return cursor


def _parse(saved: Any) -> Cursor:
    match saved:
        case {
            "format": 1,
            "epoch": int(epoch),
            "position": int(position),
            "order": Mapping(),
            "version": str(),
        } if epoch >= 0 and position >= 0:
            return Cursor(epoch=epoch, position=position)
    raise UsageError(f"not a state of this library: {str(saved)[:120]}")
