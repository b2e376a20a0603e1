"""Bytes by key: the only place where datasets touch a disk or a network."""

from millstream.store.local import LocalStore
from millstream.store.place import open_place
from millstream.store.protocol import (
    DeletingStore,
    ListingStore,
    ObjectInfo,
    ReadableStore,
    Store,
)

__all__ = [
    "DeletingStore",
    "ListingStore",
    "LocalStore",
    "ObjectInfo",
    "ReadableStore",
    "Store",
    "open_place",
]
