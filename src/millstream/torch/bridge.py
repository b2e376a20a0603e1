"""What the layers below need of torch; they get here through `millstream.interop` only."""

from __future__ import annotations

import copyreg
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate
from torch.utils.data import IterableDataset
from torch.utils.data import default_collate as torch_collate

from millstream.torch.topology import Share, find_ranks, find_share

Octets = npt.NDArray[np.uint8]


def dtype_name(value: object) -> str | None:
    """The dtype of a dense tensor, "float32" for one; None for whatever else."""
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
        return None
    return str(value.dtype).removeprefix("torch.")


def bits(tensor: torch.Tensor, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A tensor's elements as a C-contiguous array of a numpy dtype of the same width."""
    return _octets(tensor).view(dtype).reshape(tuple(tensor.shape))


def _octets(tensor: torch.Tensor) -> Octets:
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    octets: Octets = plain.reshape(-1).view(torch.uint8).numpy()
    return octets


def tensor(array: npt.NDArray[Any], dtype: str) -> torch.Tensor:
    """A tensor that shares the memory of an array; "" keeps the array's own dtype."""
    if not dtype:
        return torch.from_numpy(array)
    wanted: torch.dtype = getattr(torch, dtype)
    octets = torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return octets.view(wanted).reshape(array.shape)


def default_collate(values: Sequence[Any]) -> Any:
    """What torch makes of a batch of values; raises what it raises."""
    return torch_collate(list(values))


def resized(pixels: Octets, size: tuple[int, int], method: str) -> Octets:
    """uint8 (height, width, channels) in another size (height, width), antialiased."""
    channels_last = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    found = interpolate(channels_last, size, mode=method, antialias=True)
    octets: Octets = found[0].permute(1, 2, 0).numpy()
    return octets


def cheap_pickles() -> None:
    """From now on this process pickles plain tensors as arrays, beside the pickle."""
    copyreg.pickle(torch.Tensor, _reduced)


def _reduced(value: torch.Tensor) -> tuple[Any, ...] | str:
    name = dtype_name(value)
    if name is None or value.requires_grad or value.device.type != "cpu":
        return value.__reduce_ex__(2)  # type: ignore[no-any-return,no-untyped-call]
    return _restored, (_octets(value), name, tuple(value.shape))


def _restored(octets: Octets, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    wanted: torch.dtype = getattr(torch, dtype)
    return torch.from_numpy(octets).view(wanted).reshape(shape)


def seed(key: int) -> None:
    """Seeds the CPU generator."""
    torch.default_generator.manual_seed(key)


def random_state() -> torch.Tensor:
    """The state of the CPU generator."""
    return torch.default_generator.get_state()


def set_random_state(state: torch.Tensor) -> None:
    """Takes a state back."""
    torch.default_generator.set_state(state)


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
