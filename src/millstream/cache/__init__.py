"""The chunk cache: a folder of immutable files that every process of a machine shares."""

from millstream.cache.cache import Busy, Cache, Fetch, Filling, Lease, default_root
from millstream.cache.folder import Entry

__all__ = ["Busy", "Cache", "Entry", "Fetch", "Filling", "Lease", "default_root"]
