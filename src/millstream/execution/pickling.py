"""Values on their way to a worker: functions by cloudpickle, those with a cache too."""

from __future__ import annotations

import functools
import io
from collections import ChainMap
from collections.abc import Callable
from typing import Any, ClassVar

import cloudpickle

from millstream.errors import NotPicklable


def pickled(value: Any, name: str) -> bytes:
    """A value on its way to a worker; raises NotPicklable, which calls it `name`."""
    out = io.BytesIO()
    try:
        _Pickler(out, protocol=5).dump(value)
    except Exception as error:  # whatever a user's __reduce__ raises
        raise NotPicklable(
            f"{name} cannot be sent to a worker process: {type(error).__name__}: {error}. Open "
            "files, locks and connections inside the function, or use num_workers=0"
        ) from error
    return out.getvalue()


def _reduce_cached(cached: Any) -> str | tuple[Any, ...]:
    """A function under functools.cache or lru_cache, which begins there with nothing in it.

    By its name where workers can import it, as cloudpickle does it with functions.
    """
    if cached.__module__ == "__main__" or "<locals>" in cached.__qualname__:
        parameters = cached.cache_parameters()
        return _cached, (cached.__wrapped__, parameters["maxsize"], parameters["typed"])
    by_name: str = cached.__reduce__()
    return by_name


def _cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Callable[..., Any]:
    return functools.lru_cache(maxsize=maxsize, typed=typed)(function)


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]  # which publishes no types
    dispatch_table: ClassVar[Any] = ChainMap(
        {type(functools.lru_cache(pickled)): _reduce_cached},
        cloudpickle.CloudPickler.dispatch_table,
    )
