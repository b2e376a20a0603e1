"""Samples that nobody is to see, and what of them must be nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms
from millstream.utilities.encryption import Encryption

NAME, NOTE = "Ada Lovelace, born", "note of the analyst"
VECTOR = np.frombuffer(b"vector of secret", "<f4")
ROWS = 60


def sample(i: int) -> dict[str, Any]:
    """Columns, blobs, an array whose shape differs, and one in a tuple."""
    return {
        "id": 10_000_000_019 * (i + 1),
        "name": f"{NAME} {i}",
        "note": (NOTE + " ") * (i % 3 + 2),
        "ragged": np.arange(i % 3, dtype=np.int16),
        "vector": VECTOR + 0,
        "pair": (i % 2 == 0, np.float32(i)),
    }


def plaintexts(rows: int = ROWS) -> list[bytes]:
    """What of these samples would be in a file that is not encrypted."""
    ids = [sample(i)["id"].to_bytes(8, "little") for i in range(rows)]
    return [NAME.encode(), NOTE.encode(), VECTOR.tobytes(), *ids]


def write(
    folder: Path, encryption: Encryption | None, rows: int = ROWS, **options: Any
) -> ms.StreamingDataset:
    """A dataset of them in chunks of 20, opened."""
    options = {"num_workers": 0, "chunk_size": 20, **options}
    ms.optimize(sample, range(rows), folder, encryption=encryption, verbose=False, **options)
    return ms.StreamingDataset(folder, encryption=encryption)


def seen_in(folder: Path, rows: int = ROWS) -> list[tuple[str, bytes]]:
    """The plaintexts that files below a folder hold, or are named for."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [
        (str(path), secret)
        for path in files
        for secret in plaintexts(rows)
        if secret in path.read_bytes() or secret in str(path).encode()
    ]
