"""The one door to torch: everything below `millstream.torch` that needs it asks here, by name.

Datasets can be written and read without torch installed, so nothing may import it on the way
in; but a tensor in a sample needs it, and so does the rank of a training process.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, cast

from millstream.errors import UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Share(Protocol):
    """Which part of an epoch this process reads."""

    @property
    def rank(self) -> int: ...
    @property
    def ranks(self) -> int: ...
    @property
    def worker(self) -> int: ...
    @property
    def workers(self) -> int: ...


class TorchSide(Protocol):
    """What `millstream.torch.bridge` offers to the layers below it."""

    def dtype_name(self, value: object) -> str | None:
        """The dtype of a dense tensor, "float32" for one; None for whatever else."""

    def bits(self, tensor: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """A tensor's elements as a C-contiguous array of a numpy dtype of the same width."""

    def tensor(self, array: npt.NDArray[Any], dtype: str) -> Any:
        """The inverse of `bits`; shares the memory of the array."""

    def default_collate(self, values: Sequence[Any]) -> Any:
        """What torch makes of a batch of values; raises what it raises."""

    def resized(
        self, pixels: npt.NDArray[np.uint8], size: tuple[int, int], method: str
    ) -> npt.NDArray[np.uint8]:
        """uint8 (height, width, channels) in another size (height, width), antialiased.

        method: "bilinear" or "bicubic". pixels is C-contiguous and has at most four channels.
        """

    def cheap_pickles(self) -> None:
        """From now on this process pickles plain tensors as arrays, beside the pickle."""

    def seed(self, key: int) -> None:
        """Seeds the CPU generator."""

    def random_state(self) -> Any:
        """The state of the CPU generator."""

    def set_random_state(self, state: Any) -> None:
        """Takes a state back."""

    def register_iterable(self, cls: type) -> None:
        """Makes a class an IterableDataset by isinstance."""

    def ranks(self) -> tuple[int, int]:
        """This process's rank, and how many there are."""

    def share(self, known: tuple[int, int] | None) -> Share:
        """This process among the ranks of the run and the workers of its DataLoader.

        known: what `ranks` gave in the process that started this one.
        """


@cache
def torch() -> TorchSide:
    """The torch side of the house; raises UnsupportedError if torch is not installed."""
    try:
        return cast(TorchSide, importlib.import_module("millstream.torch.bridge"))
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UnsupportedError(
            "this needs PyTorch, which is not installed: pip install 'millstream[torch]', "
            "or read tensors as arrays with decode={field: 'numpy'}"
        ) from None


def loaded_torch() -> TorchSide | None:
    """The torch side if torch is in this process already, else None."""
    return None if sys.modules.get("torch") is None else torch()
