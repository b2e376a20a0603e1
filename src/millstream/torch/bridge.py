"""What the layers below need of torch; they get here through `millstream.interop` only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset

from millstream.torch.topology import Share, find_ranks, find_share


def dtype_name(value: object) -> str | None:
    """The dtype of a dense tensor, "float32" for one; None for whatever else."""
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
        return None
    return str(value.dtype).removeprefix("torch.")


def bits(tensor: torch.Tensor, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A tensor's elements as a C-contiguous array of a numpy dtype of the same width."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    octets: npt.NDArray[Any] = plain.reshape(-1).view(torch.uint8).numpy()
    return octets.view(dtype).reshape(tuple(tensor.shape))


def tensor(array: npt.NDArray[Any], dtype: str) -> torch.Tensor:
    """A tensor that shares the memory of an array; "" keeps the array's own dtype."""
    if not dtype:
        return torch.from_numpy(array)
    wanted: torch.dtype = getattr(torch, dtype)
    octets = torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return octets.view(wanted).reshape(array.shape)


def register_iterable(cls: type) -> None:
    """Makes a class an IterableDataset by isinstance, as plain DataLoaders ask."""
    IterableDataset.register(cls)


def ranks() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    found = find_ranks()
    return found.rank, found.ranks


def share(known: tuple[int, int] | None) -> Share:
    """This process among the ranks of the run and the workers of its DataLoader."""
    return find_share(known)
