"""Marks in a batch the samples that came before, and only fill it."""

from __future__ import annotations

from typing import Any

import torch

from millstream.errors import UsageError


def marked(batch: Any, name: str, size: int, padded: int) -> Any:
    """The batch with a field `name`: a tensor of bool (size,), True for the last `padded` samples.

    Raises UsageError unless the batch is a dict without such a field.
    """
    if not isinstance(batch, dict):
        raise UsageError(
            f"pad={name!r} adds a field to each batch, which is a {type(batch).__name__} here and "
            "not a dict: give pad=True, and ask loader.padded"
        )
    if name in batch:
        raise UsageError(f"the batches have a field {name!r} already: give pad another name")
    mask = torch.zeros(size, dtype=torch.bool)
    mask[size - padded :] = True
    batch[name] = mask
    return batch
