"""Pages of a web server as JSON files, so many a second at most, and tried again when it is busy.

URLS is a text file with a URL a line. Stop it and call it again: pages that are there are not asked
for again. (URLs as plain inputs would be fetched by millstream, as fast as they come.)
"""

from __future__ import annotations

import argparse
import html
import json
import re
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import millstream as ms

WORKERS, TRIES, BUSY = 2, 5, (429, 500, 502, 503, 504)


@dataclass
class Rate:
    """Lets its caller go on once in so many seconds."""

    seconds: float
    next: float = 0.0

    def wait(self) -> None:
        time.sleep(max(0.0, self.next - time.monotonic()))
        self.next = time.monotonic() + self.seconds


def get(url: str, rate: Rate) -> str:
    """A page; asks again, later and later, while the server is busy."""
    request = Request(url, headers={"User-Agent": "millstream-example"})
    for attempt in range(TRIES):
        rate.wait()
        try:
            with urlopen(request, timeout=30) as answer:
                return answer.read().decode(answer.headers.get_content_charset() or "utf-8")
        except HTTPError as error:
            with error:
                if error.code not in BUSY or attempt == TRIES - 1:
                    raise
                time.sleep(float(error.headers.get("Retry-After") or 2**attempt))
    raise AssertionError("unreachable")


def words_of(page: str) -> str:
    """The text of a page, without its marks."""
    page = re.sub(r"(?is)<(script|style)\b.*?</\1>|<!--.*?-->|<[^>]*>", " ", page)
    return " ".join(html.unescape(page).split())


def main(urls: str, output: str, pages_a_second: float = 5.0) -> None:
    """Fetches all of them; what cannot be had is listed at the end."""
    rate = Rate(WORKERS / pages_a_second)  # each worker has one of its own

    def scrape(page: tuple[str], output_dir: str) -> None:
        (url,) = page
        found = {"url": url, "text": words_of(get(url, rate))}
        name = f"{sha256(url.encode()).hexdigest()[:16]}.json"
        Path(output_dir, name).write_text(json.dumps(found))

    pages = [(url,) for url in Path(urls).read_text().split()]
    ms.map(scrape, pages, output, num_workers=WORKERS, on_error="skip")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", metavar="URLS")
    parser.add_argument("output", metavar="OUTPUT")
    parser.add_argument("pages_a_second", type=float, nargs="?", default=5)
    main(**vars(parser.parse_args()))
