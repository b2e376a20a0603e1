"""How many images a second: class folders of JPEG files (as ImageNet has them) to a dataset, epochs
of it as a training reads them, and a few steps of a small network.

PHOTOS has a folder for each class. Without one, photographs are made (examples/photos.py).
"""

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import millstream as ms
from photos import make_photos

RANDOM_PART = ms.JpegDecode(size=224, crop="random_resized", flip=True)


def rate(what: str, sizes: Iterable[int]) -> None:
    """Goes through batches, of which there are the sizes, and prints images a second."""
    began = time.perf_counter()
    images = sum(sizes)
    print(f"{what:<8}{images / (time.perf_counter() - began):>9,.0f} images/s ({images:,} images)")


def write(photos: Path, classes: list[str], output: str, max_side: int | None) -> Iterator[int]:
    def sample(path: Path) -> dict[str, Any]:
        # Without max_side the file's bytes are copied, unopened: that is the quick way to write.
        label = classes.index(path.relative_to(photos).parts[0])
        return {"image": ms.Jpeg(path, max_side=max_side), "label": label}

    paths = sorted(path for name in classes for path in (photos / name).rglob("*.[jJ][pP]*"))
    yield ms.optimize(sample, paths, output).samples


def train(loader: ms.StreamingDataLoader, classes: int) -> Iterator[int]:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 16, stride=16), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4),
        torch.nn.Flatten(), torch.nn.Linear(256, classes),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for batch in islice(loader, 10):
        # Images are uint8 until here: an accelerator would be sent a quarter of the bytes.
        images = batch["image"].float().div_(127.5).sub_(1)
        loss = torch.nn.functional.cross_entropy(model(images), batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield len(images)


def main(output: str, photos: Path | None, epochs: int, batch_size: int, **options: Any) -> None:
    if photos is None:
        photos = Path("example-photos")
        make_photos(photos, 800)
    classes = sorted(path.name for path in photos.iterdir() if path.is_dir())
    rate("write", write(photos, classes, output, options["max_side"]))
    dataset = ms.StreamingDataset(output, shuffle=True, decode={"image": RANDOM_PART})
    loader = ms.StreamingDataLoader(dataset, batch_size, num_workers=options["workers"])
    for epoch in range(epochs):  # of data that is far away, the first fills the cache
        rate(f"epoch {epoch}", (len(batch["label"]) for batch in loader))
    print(loader.stats())  # which names the slowest stage
    rate("train", train(loader, len(classes)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", metavar="OUTPUT", help="a folder, or a URL like s3://bucket/x")
    parser.add_argument("--photos", type=Path, help="a folder of class folders")
    parser.add_argument("--max-side", type=int, help="make the files smaller when writing")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    main(**vars(parser.parse_args()))
