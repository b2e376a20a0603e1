"""Images and their captions, from a list of URLs (as that of LAION is) to a dataset.

LIST is a .csv, .jsonl or .parquet file (the last needs pyarrow). What cannot be had, or is no
image, is left out, and named in missing.txt. Stop it and call it again: it goes on.
"""

import argparse
import csv
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image, ImageOps

import millstream as ms

THREADS, MOST = 16, 50_000_000  # requests at once in a worker, for lists of many hosts; bytes


def read_list(path: Path, columns: list[str]) -> list[dict[str, str]]:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(path, columns=columns).to_pylist()
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines) if path.suffix == ".csv" else map(json.loads, lines))


def fetch(url: str, max_side: int, tries: int = 3) -> ms.Jpeg | str:
    """An image, or what is wrong: a list of millions has everything in it."""
    try:
        if not url.startswith(("http://", "https://")):
            raise ValueError("not on the web")  # somebody's list may hold file:///etc/passwd
        request = Request(url, headers={"User-Agent": "millstream-example"})
        with urlopen(request, timeout=20) as answer:
            data = BytesIO(answer.read(MOST))
        with Image.open(data) as image:
            pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        return ms.Jpeg(array=pixels, max_side=max_side, quality=90)
    except Exception as error:
        if tries > 1 and isinstance(error, HTTPError) and error.code in (429, 503):
            wanted = error.headers.get("Retry-After", "")
            time.sleep(min(int(wanted), 60) if wanted.isdecimal() else 5)
            return fetch(url, max_side, tries - 1)
        return f"{url}\t{error!r}"


def main(urls: Path, output: str, columns: list[str], max_side: int, mode: str | None) -> None:
    def download(rows: list[tuple[str, str]]) -> Iterator[dict[str, object]]:
        with ThreadPoolExecutor(THREADS) as threads:
            images = list(threads.map(lambda row: fetch(row[0], max_side), rows))
        for (url, caption), image in zip(rows, images, strict=True):
            if isinstance(image, ms.Jpeg):
                yield {"image": image, "caption": caption, "url": url}
        # What was yielded before an error is kept; the error's text is noted with the input.
        if missing := [image for image in images if isinstance(image, str)]:
            raise LookupError("\n".join(["some URLs gave no image", *missing]))

    rows = [(row[columns[0]], row[columns[1]] or "") for row in read_list(urls, columns)]
    report = ms.optimize(download, rows, output, batch_size=256, on_error="skip", mode=mode)
    missing = [line for part in report.skipped for line in part.error.splitlines()[1:]]
    Path("missing.txt").write_text("\n".join(missing))
    print(f"{report.samples:,} images; {len(missing):,} URLs without one are in missing.txt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", type=Path, metavar="LIST")
    parser.add_argument("output", metavar="OUTPUT", help="a folder, or a URL like s3://bucket/x")
    parser.add_argument("--columns", nargs=2, default=["url", "caption"], help="LAION: URL TEXT")
    parser.add_argument("--max-side", type=int, default=384, help="pixels (%(default)s)")
    parser.add_argument("--mode", choices=["append"], help="add to a dataset that is there")
    main(**vars(parser.parse_args()))
