"""Finds out that a process inherited a network client that it must not use.

obstore runs requests on threads of its own, which a fork does not copy: in a child of a process
that had used it, every request waits for ever, with a new client too. A process where it was never
used before can fork as it likes.
"""

from __future__ import annotations

import os

from millstream.errors import ForkedStore

_used = False
_inherited = False


def use_client(place: str) -> None:
    """Notes that the client is used from now on; raises ForkedStore where it must not be."""
    global _used
    if _inherited:
        raise ForkedStore(
            f"{place}: this process was forked from one that had already used the network, and "
            "the client does not survive that. Start processes with 'spawn' or 'forkserver' "
            "(multiprocessing.get_context('spawn'), DataLoader(multiprocessing_context='spawn')), "
            "fork before the first use, or read through millstream.StreamingDataset, which "
            "fetches in a process of its own"
        )
    _used = True


def _after_fork() -> None:
    global _inherited
    _inherited = _inherited or _used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
