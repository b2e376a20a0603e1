"""Bytes by key: the only place where datasets touch a disk or a network."""

from millstream.store.local import LocalStore
from millstream.store.memory import MemoryStore
from millstream.store.place import near, open_place, open_store, service_of, shared_bucket
from millstream.store.protocol import (
    Folder,
    ListingStore,
    NearStore,
    ObjectInfo,
    ReadableStore,
    Span,
    Store,
    WritableStore,
)
from millstream.store.retry import Retry
from millstream.store.staging import blocks, staged

__all__ = [
    "Folder",
    "ListingStore",
    "LocalStore",
    "MemoryStore",
    "NearStore",
    "ObjectInfo",
    "ReadableStore",
    "Retry",
    "Span",
    "Store",
    "WritableStore",
    "blocks",
    "near",
    "open_place",
    "open_store",
    "service_of",
    "shared_bucket",
    "staged",
]
