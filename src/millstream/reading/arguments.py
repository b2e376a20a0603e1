"""What users pass, checked and brought into one form; all of it raises UsageError."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from millstream.errors import UsageError
from millstream.reading.reader import Rows
from millstream.tokens import TokensLoader


def as_indices(index: Any) -> Rows:
    """A list or an array of integers, negative ones too, as int64."""
    array = np.asarray(index)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise UsageError(
            f"a dataset is indexed by an integer, a slice, or a list of integers, got {index!r}"
        )
    return array.astype(np.int64)


def as_names(fields: Any) -> tuple[str, ...]:
    """A list of field names."""
    if isinstance(fields, str) or not fields or not all(isinstance(f, str) for f in fields):
        raise UsageError(f"fields is {fields!r}, expected a list of field names")
    return tuple(fields)


# Arguments of StreamingDataset that LitData has, and why they do nothing here.
WITHOUT_EFFECT = {
    "max_pre_download": "how much is fetched ahead is found by measuring, within max_cache_size",
    "index_path": "the manifest is found by itself; version= chooses one",
}


def warn_without_effect(**given: object) -> None:
    """Says of each argument that does nothing, if it was given, why that is so."""
    for name, value in given.items():
        if value is not None:
            warnings.warn(f"{name} has no effect here: {WITHOUT_EFFECT[name]}", stacklevel=3)


def joined_options(
    storage: Mapping[str, object] | None, session: Mapping[str, object] | None
) -> Mapping[str, object] | None:
    """The options of a client and those of its session, which give way where both name one."""
    return {**session, **(storage or {})} if session else storage


def positive(value: Any) -> int | None:
    """A whole number from 1 as it is, None for whatever else."""
    return value if type(value) is int and value > 0 else None


def check_order(seed: object, lanes: object, window: object) -> None:
    """The settings of an order; lanes and window may be None."""
    if type(seed) is not int:
        raise UsageError(f"seed is {seed!r}, expected an integer")
    for name, value in (("lanes", lanes), ("shuffle_window", window)):
        if value is not None and positive(value) is None:
            raise UsageError(f"{name} is {value!r}, expected a number from 1, or None")


def check_loader(item_loader: object) -> None:
    """What reads blocks of tokens, or None."""
    if not isinstance(item_loader, TokensLoader | None):
        raise UsageError(
            f"item_loader is {item_loader!r:.60}, expected TokensLoader(block_size=N), or None"
        )
    if item_loader is not None and item_loader.block_size is None:
        raise UsageError(
            "TokensLoader() says no block_size: give TokensLoader(block_size=2049), say, or leave "
            "item_loader out to read whole documents"
        )
