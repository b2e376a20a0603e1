"""What the datasets hold that are mixed in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import millstream as ms

Open = Callable[..., ms.StreamingDataset]
ROWS = {"a": 700, "b": 300, "c": 120}


def alike(name: str, i: int) -> dict[str, Any]:
    """A sample of the datasets a and b."""
    return {"from": name, "id": i, "vector": np.full(3, i, np.float32)}
