"""The libraries that are compared: one class a library, with the methods that it can serve.

A method that a class lacks is a workload that is left out, and so is one that raises Skip. What
the methods are given, and what they must give (`photos` are data.Photo):

    import_for(method)                 imports what is not yet, before the clock runs
    write_images(photos, place, workers)             samples {"image": JPEG bytes, "label": int}
    write_tokens(file, count, place, workers)        a flat file of uint16, whole
    write_small(count, place, workers, chunk_bytes)  data.small(i) for i in range(count)
    write_small_columns(count, place, workers)       the same rows from arrays, data.small_columns
    images(place, batch, workers)      batches {"image": list of bytes, "label": array}, shuffled
    pixels(place, batch, workers)      the same, decoded and cropped: uint8 (batch, 3, 224, 224)
    tokens(place, block, batch, workers)  batches of shape (batch, block), shuffled
    small(place, batch, workers)       batches {"id", "x", "v": (batch, 16)}, shuffled
    image_rows(place), small_rows(place)  len() and [i]
    remote_images(bucket, place, cache, batch, workers)  as images; place: the prefix
    remote_rows(bucket, place, cache)  as image_rows
    make_index(images, place, chunks)  an index like that of `images`, but with so many chunks
    open_index(place)                  opens it; has a len()
    resumable(place, batch, workers)   as small, and its order can be had again
    state(loader, iterator)            where it stands, as something that pickles
    resume(loader, state)              an iterable of the rest

A place is a Path that does not exist when it is written to. Batches hold what the library
gives by default, arrays or tensors.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import Process
from typing import Any


class Skip(Exception):
    """This library, as it is installed, cannot do that; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A library and where it runs. environment: of environments.py, "" for the first.

    module: in this folder, with a class Driver. reads: the peer whose data it reads, for one that
    is another way to read. package: what says the version. compared: whether "the best of the
    others" may be this one. short: whether the short form has it.
    """

    name: str
    module: str
    environment: str = ""
    reads: str = ""
    package: str = ""
    compared: bool = True
    short: bool = True

    @property
    def data(self) -> str:
        """The name of the folder of its data, which will do in a URL too."""
        return (self.reads or self.name).replace("+", "-")

    def driver(self) -> Any:
        """An instance of its class; imports the library."""
        return importlib.import_module(f"peers.{self.module}").Driver()


OURS = "ours"
PEERS = [
    Peer(name=OURS, module="ours", package="millstream", compared=False),
    # Our dataset in torch's own DataLoader: what a user has who keeps that one.
    Peer(name="ours+torch", module="ours_plain", reads=OURS, compared=False),
    Peer(name="litdata", module="litdata", package="litdata"),
    Peer(
        name="litdata+pyarrow",
        module="litdata",
        environment="arrow",
        package="litdata",
        short=False,
    ),
    Peer(name="mosaic", module="mosaic", environment="mosaic", package="mosaicml-streaming"),
    Peer(name="webdataset", module="webdataset", package="webdataset"),
    Peer(name="grain", module="grain", package="grain"),
    Peer(name="hf", module="hf", environment="arrow", package="datasets"),
    # Not a library: the least that torch's DataLoader can do.
    Peer(name="plain", module="plain", package="torch", compared=False),
    # Not a loader: what the work itself takes, with no order and no hand-over.
    Peer(name="limit", module="limit", reads="plain", compared=False),
]


def peer(name: str) -> Peer:
    """The peer of a name."""
    for one in PEERS:
        if one.name == name:
            return one
    raise SystemExit(f"no library {name!r}; there are: {', '.join(one.name for one in PEERS)}")


def in_processes(function: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> None:
    """Calls with each tuple in a process of its own, for libraries without a parallel writer."""
    processes = [Process(target=function, args=some) for some in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a writer failed")
