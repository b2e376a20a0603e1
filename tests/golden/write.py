"""Writes the golden datasets that are not there yet; those that are stay as they are, for ever."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "src")]

from kinds import KINDS, RSA_KEY, RSAEncryption  # noqa: E402

if __name__ == "__main__":
    PLACE = Path(__file__).parent / "v1"
    PLACE.mkdir(exist_ok=True)
    if not RSA_KEY.exists():
        RSAEncryption(password="a password that everybody knows").save_private_key(RSA_KEY)
    for name, golden in KINDS.items():
        if not (PLACE / name).exists():
            with tempfile.TemporaryDirectory() as folder:
                golden.write(Path(folder) / name)
                # It says when and where it was written, and is no part of a dataset.
                shutil.rmtree(Path(folder) / name / "runs")
                shutil.copytree(Path(folder) / name, PLACE / name)
            print(f"wrote {name}")
