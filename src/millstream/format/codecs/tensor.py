"""torch tensors, read and made without importing torch here: through `interop`."""

from __future__ import annotations

from typing import Any

import numpy as np

from millstream import interop
from millstream.errors import CorruptData
from millstream.format.codecs.codec import Array, ArrayCodec, Shape

# torch's dtype names beside the numpy dtype of the same width that carries their bits.
STORED_AS = {
    "bool": "|u1",
    "uint8": "|u1",
    "int8": "|i1",
    "uint16": "<u2",
    "int16": "<i2",
    "uint32": "<u4",
    "int32": "<i4",
    "uint64": "<u8",
    "int64": "<i8",
    "float16": "<f2",
    "bfloat16": "<u2",
    "float32": "<f4",
    "float64": "<f8",
    "complex64": "<c8",
    "complex128": "<c16",
    "float8_e4m3fn": "|u1",
    "float8_e5m2": "|u1",
}


class Tensor(ArrayCodec):
    """A dense torch.Tensor of any shape, taken to the CPU; it comes back without gradients."""

    kind = "tensor"

    def describe(self, value: Any) -> str | None:
        torch = interop.loaded_torch()
        name = None if torch is None else torch.dtype_name(value)
        return name if name in STORED_AS else None

    def storage(self, dtype: str) -> np.dtype[Any]:
        if dtype not in STORED_AS:
            raise CorruptData(f"not the dtype of a stored tensor: {dtype[:40]!r}")
        return np.dtype(STORED_AS[dtype])

    def encode(self, value: Any, dtype: str) -> tuple[Shape, bytes]:
        bits = interop.torch().bits(value, self.storage(dtype))
        return bits.shape, bits.tobytes()

    def block(self, values: Any, dtype: str) -> Array | None:
        if self.describe(values) != dtype or not values.ndim:
            return None
        return interop.torch().bits(values, self.storage(dtype))

    def values(self, column: Array, dtype: str) -> list[Any]:
        torch = interop.torch()
        return [torch.tensor(np.array(value), dtype) for value in column]
