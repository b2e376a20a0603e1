"""The peak memory of a worker that tokenizes one large text file, given as one input.

The text is the Python sources of the standard library, again and again. The tokens are its bytes:
what is measured is what lies between the function and the disk, and a tokenizer would only add
its own. Said for each run is the most memory that a worker had at any time, as the kernel counts
it, files that are mapped included, and that of this process, which cuts the chunks.

    python benchmarks/writing_memory.py [--megabytes 1500] [--folder DIR]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms

KINDS = {"tokens": "documents of tokens", "text": "lines of text", "arrays": "arrays of tokens"}


def write_text(path: Path, nbytes: int) -> None:
    """Writes so much text."""
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    content = b"\n".join(source.read_bytes() for source in sources)
    with path.open("wb") as out:
        while out.tell() < nbytes:
            out.write(content[: nbytes - out.tell()])


def tokenize(path: str) -> Iterator[Any]:
    """A document is 100 lines; a token is a byte."""
    with Path(path).open("rb") as lines:
        held: list[bytes] = []
        for line in lines:
            held.append(line)
            if len(held) == 100:
                yield np.frombuffer(b"".join(held), np.uint8).astype(np.uint16)
                held = []


def text_rows(path: str) -> Iterator[Any]:
    """Every line."""
    with Path(path).open(errors="replace") as lines:
        for number, line in enumerate(lines):
            yield {"number": number, "line": line}


def run(kind: str, source: Path, output: Path) -> None:
    """One job with one worker, and what it took."""
    fn = text_rows if kind == "text" else tokenize
    loader = ms.TokensLoader() if kind == "tokens" else None
    report = ms.optimize(
        fn, [str(source)], output, item_loader=loader, num_workers=1, verbose=False
    )
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1e6 if sys.platform == "darwin" else 1e3
    print(
        f"{KINDS[kind]}: {report.samples:,} samples, {report.bytes / 1e6:,.0f} MB in "
        f"{report.seconds:.0f} s; worker {worker / unit:,.0f} MB at most, this process "
        f"{here / unit:,.0f} MB",
        flush=True,
    )


def main() -> None:
    """Each kind in a process of its own: the kernel keeps the most of all children so far."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1_500)
    parser.add_argument("--folder", help="where to work; by default the temporary folder")
    parser.add_argument("--kind", choices=sorted(KINDS), help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="writing-memory-", dir=args.folder) as folder:
        if args.kind is not None:
            run(args.kind, args.source, Path(folder, "d"))
            return
        source = Path(folder, "text.txt")
        write_text(source, args.megabytes * 1_000_000)
        for kind in KINDS:
            command = [sys.executable, __file__, "--kind", kind, "--source", str(source)]
            subprocess.run([*command, *(["--folder", folder])], check=True)


if __name__ == "__main__":
    main()
