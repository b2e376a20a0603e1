"""Dir: the folder of a cache and the URL that it is for."""

from millstream.reading.dir import Dir

__all__ = ["Dir"]
