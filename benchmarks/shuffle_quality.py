"""How well class-sorted data is shuffled: ours, WebDataset's and LitData's defaults, side by side.

10,000 samples of 100 classes, sorted by class, in 20 chunks. For batches of 64 of one epoch: the
mean number of distinct chunks and classes in a batch, and the rank correlation of the order with
the input. A uniform shuffle is the yardstick. Run by `make bench`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

SAMPLES, CLASSES, CHUNKS, BATCH = 10_000, 100, 20, 64
PER_CHUNK, PER_CLASS = SAMPLES // CHUNKS, SAMPLES // CLASSES


def ours(folder: Path) -> list[int]:
    """Defaults of StreamingDataLoader."""
    import millstream as ms

    ms.optimize(
        lambda i: {"id": i},
        range(SAMPLES),
        folder,
        chunk_size=PER_CHUNK,
        num_workers=0,
        verbose=False,
    )
    loader = ms.StreamingDataset(folder, shuffle=True).batches(BATCH)
    return [int(i) for batch in loader for i in batch["id"]]


def webdataset(folder: Path) -> list[int]:
    """Shards of as many samples; shuffled shards and the customary buffer of 1,000."""
    import webdataset as wds

    for shard in range(CHUNKS):
        with tarfile.open(folder / f"{shard:03}.tar", "w") as tar:
            for i in range(shard * PER_CHUNK, (shard + 1) * PER_CHUNK):
                info = tarfile.TarInfo(f"{i:06}.id")
                content = str(i).encode()
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    urls = [str(folder / f"{shard:03}.tar") for shard in range(CHUNKS)]
    dataset = wds.WebDataset(urls, shardshuffle=100).shuffle(1000)
    return [int(sample["id"]) for sample in dataset]


def litdata(folder: Path) -> list[int]:
    """Chunks of as many samples; shuffle=True."""
    os.environ["LITDATA_DISABLE_VERSION_CHECK"] = "1"
    import litdata as ld
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_size=PER_CHUNK)
    for i in range(SAMPLES):
        writer[i] = {"id": i}
    writer.done()
    writer.merge()
    return [int(s["id"]) for s in ld.StreamingDataset(str(folder), shuffle=True)]


def uniform(folder: Path) -> list[int]:
    """Every order equally likely."""
    order: list[int] = np.random.default_rng(0).permutation(SAMPLES).tolist()
    return order


def quality(order: list[int]) -> dict[str, float]:
    """The figures of one order; it must hold every sample once."""
    if sorted(order) != list(range(SAMPLES)):
        raise SystemExit(f"an epoch of {len(order)} samples, {len(set(order))} of them distinct")
    rows = np.array(order)
    batches = [rows[at : at + BATCH] for at in range(0, SAMPLES - BATCH + 1, BATCH)]
    return {
        "chunks": float(np.mean([len(set((b // PER_CHUNK).tolist())) for b in batches])),
        "classes": float(np.mean([len(set((b // PER_CLASS).tolist())) for b in batches])),
        "correlation": float(abs(np.corrcoef(rows, np.arange(SAMPLES))[0, 1])),
    }


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    contenders: list[Callable[[Path], list[int]]] = [ours, webdataset, litdata, uniform]
    found = {}
    for contender in contenders:
        with tempfile.TemporaryDirectory() as place:
            found[contender.__name__] = quality(contender(Path(place)))
    if as_json:
        print(json.dumps(found))
        return
    print(f"{'':12}{'chunks a batch':>16}{'classes a batch':>17}{'|correlation|':>15}")
    for name, figures in found.items():
        chunks, classes, correlation = figures.values()
        print(f"{name:12}{chunks:16.1f}{classes:17.1f}{correlation:15.3f}")


if __name__ == "__main__":
    main()
