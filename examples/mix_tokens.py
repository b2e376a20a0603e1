"""Two sets of tokens, as TinyLlama's of text and of code, mixed in exact proportions; and a run
that is stopped, and goes on in another shape as if it had not been.

Each file is a document. By default the text is what installed packages say of themselves, the code
Python's library.
"""

import argparse
import json
import sysconfig
from glob import glob
from pathlib import Path

import numpy as np
import torch

import millstream as ms

END = 256
PATHS = sysconfig.get_paths()


def tokenize(path: str) -> np.ndarray:
    """Bytes as tokens, and one for the end; tokenize_text.py has a tokenizer that learns."""
    tokens = np.frombuffer(Path(path).read_bytes(), np.uint8)
    return np.append(tokens.astype(np.uint16), np.uint16(END))


def write(pattern: str, output: str) -> None:
    """Documents end to end. Stop it and call it again: it goes on."""
    files = sorted(glob(pattern, recursive=True))  # noqa: PTH207 - of absolute patterns too
    ms.optimize(tokenize, files, output, chunk_size=500_000, item_loader=ms.TokensLoader())


def main(output: str, text: str, code: str, weights: list[float], context: int) -> None:
    places = [f"{output}/text", f"{output}/code"]
    for pattern, place in zip((text, code), places, strict=True):
        write(pattern, place)

    def loader(batch_size: int, workers: int) -> ms.StreamingDataLoader:
        # One more than the context: what a model is asked for is the token after each.
        blocks = ms.TokensLoader(block_size=context + 1)
        sets = [ms.StreamingDataset(place, item_loader=blocks, shuffle=True) for place in places]
        mixed = ms.CombinedStreamingDataset(sets, weights=weights, iterate_over_all=False)
        return ms.StreamingDataLoader(mixed, batch_size=batch_size, num_workers=workers)

    whole = loader(batch_size=8, workers=0)
    undisturbed = torch.cat(list(whole))
    for place, count, weight in zip(places, whole.dataset.counts(), weights, strict=True):
        # What is missing to the weight is less than one block in each lane of the order.
        print(f"{place}: {count:,} blocks, {count / len(undisturbed):.3%} (asked: {weight:.3%})")

    first = loader(batch_size=8, workers=2)
    batches = iter(first)
    seen = [next(batches) for _ in range(len(first) // 2)]
    state = json.dumps(first.state_dict())  # a few hundred bytes, whatever the size of the data
    print("stopped after blocks of each:", *first.dataset.counts(json.loads(state)))

    second = loader(batch_size=12, workers=1)
    second.load_state_dict(json.loads(state))
    for batch in second:
        inputs, targets = batch[:, :-1].long(), batch[:, 1:].long()  # for the model
        assert inputs.shape == targets.shape
        seen.append(batch)
    assert torch.equal(torch.cat(seen), undisturbed), "the run did not go on where it was"
    print(f"the same {len(undisturbed):,} blocks in the same order as a run that was not stopped")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", metavar="OUTPUT", help="a folder, or a URL like s3://bucket/x")
    parser.add_argument("--text", default=f"{PATHS['purelib']}/*.dist-info/METADATA", help="a glob")
    parser.add_argument("--code", default=f"{PATHS['stdlib']}/*.py", help="a glob")
    parser.add_argument("--weights", type=float, nargs=2, default=[0.693584, 0.306416])
    parser.add_argument("--context", type=int, default=2048, help="tokens of a block, but one")
    main(**vars(parser.parse_args()))
