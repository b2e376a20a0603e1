"""The chunk cache: a folder of immutable files that every process of a machine shares."""

from millstream.cache.cache import Cache, Fetch, Lease, default_root
from millstream.cache.folder import Entry

__all__ = ["Cache", "Entry", "Fetch", "Lease", "default_root"]
