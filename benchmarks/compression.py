"""What compression saves and costs: by rows, frames or whole chunks, on text, numbers and tokens.

Text: a JSON object of 30 to 500 bytes a row, made of lines of Python's own standard library.
Numbers: a row of 8 float32 of slow signals with noise, and two counters. Tokens: documents whose
tokens are as often as words are. One process; the ways take turns; medians over the rounds. CPU
microseconds a row: written, read in a shuffled epoch (batches of 256), and alone (`dataset[i]`).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sysconfig
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms

WAYS = [None, "zstd", "zstd:9", "zstd/frame", "zstd/chunk"]
PICKS = 300


def text_rows(count: int) -> list[str]:
    """Lines of the standard library, a few to a row."""
    rows: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        lines = path.read_text(errors="replace").splitlines()
        chance, at = random.Random(path.name), 0
        while at < len(lines) and len(rows) < count:
            size = chance.randint(1, 8)
            text = "\n".join(lines[at : at + size]).strip()[:430]
            at += size
            if text:
                row = {"file": path.stem, "line": at, "text": text}
                rows.append(json.dumps(row))
    return rows


def text_of(rows: list[str], i: int) -> dict[str, Any]:
    """A row of text."""
    return {"id": i, "text": rows[i]}


def numbers_of(i: int) -> dict[str, Any]:
    """A row of numbers."""
    noise = np.random.default_rng(i).normal(0, 0.01, 8)
    signal = np.round(np.sin(i / 500 + np.arange(8)) + noise, 2).astype(np.float32)
    return {"id": i, "signal": signal, "step": i * 20}


def tokens_of(i: int) -> np.ndarray:
    """A document."""
    draw = np.random.default_rng(i)
    return np.minimum(draw.zipf(1.2, draw.integers(50, 900)), 49_999).astype(np.uint16)


def cpu(work: Callable[[], object]) -> float:
    """The CPU seconds of this process that some work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def written(folder: Path, fn: Any, rows: int, how: str | None, options: dict[str, Any]) -> int:
    """Writes a dataset; the bytes of its chunks."""
    report = ms.optimize(
        fn, range(rows), folder, compression=how, num_workers=0, verbose=False, **options
    )
    return report.bytes


def epoch(dataset: ms.StreamingDataset) -> None:
    """All rows, shuffled, in batches."""
    for _ in dataset.batches(256):
        pass


def picks(dataset: ms.StreamingDataset) -> None:
    """Rows here and there."""
    chance = random.Random(1)
    for _ in range(PICKS):
        dataset[chance.randrange(len(dataset))]


def trial(fn: Any, rows: int, how: str | None, tokens: bool) -> tuple[float, ...]:
    """Bytes, and CPU microseconds a row: written, read in an epoch, and alone."""
    with tempfile.TemporaryDirectory() as root:
        folder, loader = Path(root) / "d", {"item_loader": ms.TokensLoader()} if tokens else {}
        sizes: list[int] = []
        spent = [cpu(lambda: sizes.append(written(folder, fn, rows, how, loader)))]
        block = ms.TokensLoader(block_size=512) if tokens else None
        dataset = ms.StreamingDataset(folder, item_loader=block, shuffle=True)
        spent += [cpu(partial(epoch, dataset)), cpu(partial(picks, dataset))]
        counts = [rows, len(dataset), PICKS]
        each = [1e6 * seconds / count for seconds, count in zip(spent, counts, strict=True)]
        return float(sizes[0]), *each


def main() -> None:
    """Prints a table as docs/compression.md has it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    texts = text_rows(args.rows)
    kinds: dict[str, tuple[Any, int, bool]] = {
        f"text, {np.mean(list(map(len, texts))):.0f} bytes": (
            partial(text_of, texts), len(texts), False,
        ),
        "numbers": (numbers_of, args.rows, False),
        "tokens": (tokens_of, args.rows // 20, True),
    }  # fmt: skip
    print("| data | compression | bytes | smaller | write us | epoch us | alone us |")
    print("| :-- | :-- | --: | --: | --: | --: | --: |")
    for kind, (fn, rows, tokens) in kinds.items():
        found = defaultdict(list)
        for _ in range(args.rounds):
            for how in WAYS:
                found[how].append(trial(fn, rows, how, tokens))
        plain = found[None][0][0]
        for how, trials in found.items():
            size, *each = [statistics.median(column) for column in zip(*trials, strict=True)]
            costs = " | ".join(f"{cost:.2f}" for cost in each)
            print(f"| {kind} | {how or 'none'} | {size:,.0f} | {plain / size:.2f} | {costs} |")


if __name__ == "__main__":
    main()
