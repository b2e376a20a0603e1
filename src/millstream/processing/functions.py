"""The same names as in `millstream`."""

from millstream.store.walk import walk
from millstream.writing.map import map
from millstream.writing.merge import merge_datasets
from millstream.writing.optimize import optimize

__all__ = ["map", "merge_datasets", "optimize", "walk"]
