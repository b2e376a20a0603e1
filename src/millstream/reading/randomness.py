"""The global random states while the user's functions run: seeded for a batch, then as before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from millstream import interop
from millstream.plan import derive


@contextmanager
def seeded(*words: int) -> Iterator[None]:
    """Seeds `random`, `numpy.random` and, if it is loaded, torch's CPU generator with a key.

    So what a function draws from them depends on the words alone, whoever runs it. When the
    block is left their states are what they were.
    """
    torch = interop.loaded_torch()
    ours, numpys = random.getstate(), np.random.get_state()
    torchs = None if torch is None else torch.random_state()
    key = derive("batch", *words)
    random.seed(key)
    np.random.seed([key & 0xFFFFFFFF, key >> 32])
    if torch is not None:
        torch.seed(key >> 1)
    try:
        yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)
        if torch is not None:
            torch.set_random_state(torchs)
