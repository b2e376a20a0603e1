"""Text files to tokens, with a tokenizer that is trained on them, and back.

The tokenizer (pip install tokenizers) is a byte-level BPE, as those of GPT-2 and of Llama 3 are.
Each file below TEXTS is a document.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms

VOCABULARY = 4_096
END = "<|end|>"


@cache
def load(path: str) -> Any:
    """A trained tokenizer, once in each worker."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(path)


def train(files: list[str], path: str) -> None:
    """Trains one and writes it down, if that is not done yet."""
    from tokenizers import ByteLevelBPETokenizer

    if not Path(path).exists():
        made = ByteLevelBPETokenizer()
        made.train(files, vocab_size=VOCABULARY, special_tokens=[END], show_progress=False)
        made.save(path)


def main(texts: str, output: str, block_size: int = 256) -> None:
    """Trains, tokenizes, reads blocks as a training would, and shows one as text."""
    files = sorted(str(path) for path in Path(texts).rglob("*") if path.is_file())
    vocabulary = f"{output}.tokenizer.json"
    train(files, vocabulary)

    def tokenize(path: str) -> np.ndarray[Any, Any]:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        tokenizer = load(vocabulary)
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        return np.array([*ids, tokenizer.token_to_id(END)], np.uint16)

    ms.optimize(tokenize, files, output, item_loader=ms.TokensLoader(), num_workers=2)
    # One more: what a model is asked for is the token after each.
    blocks = ms.StreamingDataset(
        output, item_loader=ms.TokensLoader(block_size=block_size + 1), shuffle=True
    )
    loader = ms.StreamingDataLoader(blocks, batch_size=8)
    for batch in loader:
        inputs, targets = batch[:, :-1], batch[:, 1:]
        assert inputs.shape == targets.shape
    print(f"{len(blocks):,} blocks; {loader.coverage()}")
    print(load(vocabulary).decode(blocks[0].tolist(), skip_special_tokens=False)[:300])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", metavar="TEXTS")
    parser.add_argument("output", metavar="OUTPUT", help="a folder")
    parser.add_argument("block_size", metavar="BLOCK_SIZE", type=int, nargs="?", default=256)
    main(**vars(parser.parse_args()))
