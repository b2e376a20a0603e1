"""The main job on real data: photographs -> a dataset -> shuffled batches -> a training loop, and
the same by way of an S3 server.

Run by `make demo`. Everything is written below `demo-out`; what lies there is made anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import millstream as ms
from contact_sheet import contact_sheet
from object_storage import object_storage
from photos import make_photos

OUT = Path("demo-out")
PHOTOS = 3_000
SIDE = 96
WORKERS = 2


def read_photo(path: Path) -> dict[str, Any]:
    """One sample: the JPEG file as it is, its label, and its name."""
    label, name = path.parent.name.split("_", 1)
    return {"image": Image.open(path), "label": int(label), "name": f"{name}/{path.stem}"}


def random_crop(sample: dict[str, Any], rng: Any) -> dict[str, Any]:
    """A square, mirrored half of the time: the same wherever this sample of an epoch is read."""
    image = sample["image"].convert("RGB")
    side = int(min(image.size) * rng.uniform(0.6, 1.0))
    left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
    box = (left, top, left + side, top + side)
    image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return {**sample, "image": pixels.reshape(SIDE, SIDE, 3).permute(2, 0, 1).contiguous()}


def write(photos: list[Path], folder: Path) -> None:
    """Step 1: the files become a dataset."""
    size = sum(path.stat().st_size for path in photos)
    began = time.perf_counter()
    report = ms.optimize(
        read_photo, photos, folder, chunk_bytes="8MB", num_workers=WORKERS, verbose=False
    )
    seconds = time.perf_counter() - began
    print(
        f"optimize  {report.samples:,} photos, {size / 1e6:.1f} MB of JPEG -> {report.chunks} "
        f"chunks, {report.bytes / 1e6:.1f} MB: {report.samples / seconds:,.0f} photos/s, "
        f"{size / 1e6 / seconds:,.0f} MB/s with {WORKERS} workers"
    )


def read(folder: Path) -> None:
    """Step 2: every photo once, shuffled, as bytes."""
    dataset = ms.StreamingDataset(folder, shuffle=True, decode={"image": "bytes"})
    began = time.perf_counter()
    sizes = [len(sample["image"]) for sample in dataset]
    seconds = time.perf_counter() - began
    print(
        f"stream    {len(sizes):,} photos, shuffled, as bytes: {len(sizes) / seconds:,.0f} "
        f"photos/s, {sum(sizes) / 1e6 / seconds:,.0f} MB/s in one process"
    )


def train(folder: Path) -> None:
    """Step 3: an epoch of a small network, and a picture of its first batch."""
    dataset = ms.StreamingDataset(folder, shuffle=True, transform=random_crop)
    loader = ms.StreamingDataLoader(dataset, batch_size=64, num_workers=WORKERS)
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 8, stride=8), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.LazyLinear(32),
    )  # fmt: skip
    model(torch.zeros(1, 3, SIDE, SIDE))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    losses, seen, began = [], 0, time.perf_counter()
    for step, batch in enumerate(loader):
        if step == 0:
            images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in batch["image"]]
            contact_sheet(images, batch["name"], OUT / "first-batch.png")
        loss = torch.nn.functional.cross_entropy(model(batch["image"] / 255), batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        seen += len(batch["label"])
    seconds = time.perf_counter() - began
    print(
        f"train     {seen:,} photos decoded, cropped, in {len(losses)} batches: "
        f"{seen / seconds:,.0f} photos/s; loss {losses[0]:.2f} -> {losses[-1]:.2f}"
    )
    print(f"look      {OUT / 'first-batch.png'} shows the first batch")


def resume(folder: Path) -> None:
    """Step 4: a run is cut off in the middle of its second epoch and goes on as another shape."""

    def loader(batch_size: int, workers: int) -> ms.StreamingDataLoader:
        dataset = ms.StreamingDataset(folder, shuffle=True, fields=["name"])
        return ms.StreamingDataLoader(dataset, batch_size=batch_size, num_workers=workers)

    def names(batches: Any) -> list[str]:
        return [name for batch in batches for name in batch["name"]]

    undisturbed = loader(64, workers=0)
    expected = names(undisturbed) + names(undisturbed)

    first = loader(64, workers=2)
    got = names(first)
    batches = iter(first)
    got += names(next(batches) for _ in range(21))
    checkpoint = json.dumps(first.state_dict())
    parts = [first.coverage()]
    del batches, first  # the job is gone; what is left is the checkpoint

    second = loader(48, workers=1)
    second.load_state_dict(json.loads(checkpoint))
    got += names(second)
    parts.append(second.coverage())

    plan = ms.StreamingDataset(folder, shuffle=True).plan(batch_size=64, epoch=1)
    joined = parts[0].delivered + parts[1].delivered
    if got != expected or joined != plan.coverage(0, plan.steps):
        raise SystemExit("the resumed run differs from the undisturbed one")
    print(
        "resume    cut off in epoch 1 after 21 batches of 64 by 2 workers; went on with batches "
        f"of 48 by 1 worker\n          from a checkpoint of {len(checkpoint)} bytes: the same "
        "order, photo for photo, as an undisturbed run"
    )
    for part in parts:
        print(f"coverage  {part}")
    print(f"          together {joined.count:,} rows, the hash of the plan of the whole epoch")


def main() -> None:
    """All steps."""
    folder = OUT / "dataset"
    photos = make_photos(OUT / "photos", PHOTOS)
    print(f"photos    {len(photos):,} files below {OUT / 'photos'}")
    shutil.rmtree(folder, ignore_errors=True)
    write(photos, folder)
    print(f"dataset   {ms.StreamingDataset(folder)!r}")
    read(folder)
    train(folder)
    resume(folder)
    object_storage(read_photo, photos, WORKERS)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # for --help
    main()
