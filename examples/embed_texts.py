"""Paragraphs of text files and their embeddings, as a dataset, and a search in it.

TEXTS is a folder of .txt files. The model is WordLlama's (pip install wordllama), which lies in its
package: 16 MB, 256 numbers a text, no network.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms

BATCH = 256


@cache
def model() -> Any:
    """Loaded once in each worker."""
    import wordllama

    # Its weights and its tokenizer, and nothing that would have to be downloaded.
    package = Path(wordllama.__file__).parent
    return wordllama.WordLlama.load(cache_dir=package, disable_download=True)


def paragraphs(path: str) -> list[str]:
    """Those of some length."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    found = (" ".join(block.split()) for block in text.split("\n\n"))
    return [paragraph for paragraph in found if len(paragraph) >= 80]


def embed(path: str) -> Iterator[dict[str, Any]]:
    """Columns of many samples at a time, which is how the model wants its texts."""
    texts = paragraphs(path)
    for start in range(0, len(texts), BATCH):
        some = texts[start : start + BATCH]
        vectors = model().embed(some, norm=True).astype(np.float32)
        yield {"text": some, "file": [Path(path).name] * len(some), "vector": vectors}


def search(output: str, question: str, most: int = 3) -> list[tuple[float, str]]:
    """The paragraphs that are nearest to a question. Only the column of vectors is read for it."""
    columns = ms.StreamingDataset(output, fields=["vector"]).batches(4_096)
    vectors = np.concatenate([batch["vector"] for batch in columns])
    scores = vectors @ model().embed([question], norm=True)[0]
    best = np.argsort(-scores)[:most]
    texts = ms.StreamingDataset(output, fields=["text"])[best]
    return [(float(scores[row]), text["text"]) for row, text in zip(best, texts, strict=True)]


def main(texts: str, output: str, question: str) -> None:
    """Embeds what is not embedded yet, and answers."""
    files = sorted(str(path) for path in Path(texts).rglob("*.txt"))
    ms.optimize(embed, files, output, batched=True, num_workers=2)
    for score, text in search(output, question):
        print(f"{score:.2f}  {text[:90]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", metavar="TEXTS")
    parser.add_argument("output", metavar="OUTPUT", help="a folder, or a URL like s3://bucket/x")
    parser.add_argument("question", metavar="QUESTION", help="what to look for")
    main(**vars(parser.parse_args()))
