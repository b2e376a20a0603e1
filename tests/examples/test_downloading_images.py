"""The example that downloads images by a list of URLs."""

from __future__ import annotations

import csv
import json
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from running import run, tried
from servers.faultproxy import FaultProxy
from servers.faults import Status
from servers.http import HTTPServer

import millstream as ms
from photos import make_photos

pytestmark = pytest.mark.timeout(200)

GOOD, BAD = 12, {"cut.jpg": "OSError", "page.html": "Unidentified", "gone.jpg": "404"}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Photographs, one of which is a WebP file; one that is cut off, and a page."""
    paths = make_photos(tmp_path / "site", GOOD)
    with Image.open(paths[0]) as image:
        image.save(paths[0].with_suffix(".webp"))
    (tmp_path / "site" / "cut.jpg").write_bytes(paths[1].read_bytes()[:5_000])
    (tmp_path / "site" / "page.html").write_text("<html>no image</html>")
    return tmp_path / "site"


def test_download_images(tmp_path: Path, site: Path) -> None:
    names = [*sorted(str(path.relative_to(site)) for path in site.glob("*/*")), *BAD]
    with HTTPServer(site) as server, FaultProxy(server.url) as proxy:
        # Each is refused once, and is to be asked for again at once.
        proxy.do(Status(code=503, headers={"Retry-After": "0"}, per_key=True, times=1))
        rows = [{"url": f"{proxy.url}/{name}", "caption": name} for name in names]
        rows.append({"url": (site / names[0]).as_uri(), "caption": "not on the web"})
        (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
        said = run("download_images.py", "list.jsonl", "d", "--max-side", 200, cwd=tmp_path)
        asked = Counter(request.key for request in proxy.tally().log)
        proxy.reset()
        # It is done: called again, it asks for nothing.
        again = run("download_images.py", "list.jsonl", "d", "--max-side", 200, cwd=tmp_path)
        assert not proxy.tally().log
    good = [row for row in rows[:-1] if row["caption"] not in BAD]
    assert asked == {f"/{name}": 2 for name in names}
    assert f"{len(good)} images; 4 URLs without one" in said
    assert "was already complete" in again
    missing = dict(line.split("\t") for line in (tmp_path / "missing.txt").read_text().splitlines())
    assert list(missing) == [row["url"] for row in rows if row not in good]
    for name, why in BAD.items():
        assert why in missing[f"{proxy.url}/{name}"]
    found = ms.StreamingDataset(tmp_path / "d")
    # In the order of the list, with their own captions and their own pixels.
    assert [(s["url"], s["caption"]) for s in found] == [(r["url"], r["caption"]) for r in good]
    for sample in found:
        with Image.open(site / sample["caption"]) as image:
            assert max(sample["image"].size) == 200
            wanted = image.convert("RGB").resize(sample["image"].size)
        difference = np.asarray(wanted, float) - np.asarray(sample["image"], float)
        assert np.abs(difference).mean() < 12


def test_lists_of_other_kinds_are_added(tmp_path: Path, site: Path) -> None:
    names = sorted(str(path.relative_to(site)) for path in site.glob("*/*.jpg"))
    with HTTPServer(site) as server:
        rows = [{"url": f"{server.url}/{name}", "caption": f"it's {name}, 1"} for name in names]
        with (tmp_path / "list.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["url", "caption"])
            writer.writeheader()
            writer.writerows(rows[:2])
        table = pa.Table.from_pylist(rows[2:5]).rename_columns(["URL", "TEXT"])
        parquet.write_table(table, tmp_path / "list.parquet")
        run("download_images.py", "list.csv", "d", cwd=tmp_path)
        further = ("--mode", "append", "--columns", "URL", "TEXT")
        run("download_images.py", "list.parquet", "d", *further, cwd=tmp_path)
    assert [sample["caption"] for sample in ms.StreamingDataset(tmp_path / "d")] == [
        row["caption"] for row in rows[:5]
    ]


# Kills the process group when a worker asks for the last URL, unless that was done before.
MORTAL = """
import os, pathlib, signal, sys
def hook(event, arguments):
    if event == "urllib.Request" and arguments[0].endswith("?599"):
        killed = pathlib.Path("killed")
        if not killed.exists():
            killed.touch()
            os.killpg(0, signal.SIGKILL)
sys.addaudithook(hook)
"""


def test_downloading_goes_on_after_a_kill(tmp_path: Path, site: Path) -> None:
    names = [str(path.relative_to(site)) for path in site.glob("*/*.jpg")]
    (tmp_path / "sitecustomize.py").write_text(MORTAL)
    with HTTPServer(site) as server:
        wanted = [names[n % GOOD] if n % 50 else "gone.jpg" for n in range(600)]
        rows = [{"url": f"{server.url}/{w}?{n}", "caption": f"{n}"} for n, w in enumerate(wanted)]
        (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
        arguments = ("list.jsonl", "d", "--max-side", 32)
        done = tried("download_images.py", *arguments, cwd=tmp_path, before=tmp_path, alone=True)
        assert done.returncode == -signal.SIGKILL
        assert "588 images; 12 URLs" in run("download_images.py", *arguments, cwd=tmp_path)
    found = ms.StreamingDataset(tmp_path / "d", fields=["caption"])
    assert [s["caption"] for s in found] == [f"{n}" for n in range(600) if n % 50]
    assert len((tmp_path / "missing.txt").read_text().splitlines()) == 12
