"""Golden numbers: they may never change, or every checkpoint there is would go on elsewhere."""

from __future__ import annotations

import numpy as np

from millstream.plan import (
    Order,
    Plan,
    Selection,
    derive,
    generator,
    generator_for_row,
    mix,
    permute,
    split,
)

ROWS = np.array([70, 5, 100, 1, 64])
ORDER = Order(
    chunk_rows=ROWS,
    selection=Selection.whole(ROWS),
    seed=42,
    shuffle=True,
    window=80,
    lanes=3,
)


def test_epochs() -> None:
    assert ORDER.epoch(0).rows(np.arange(24)).tolist() == [
        207, 96, 171, 179, 88, 22, 217, 146, 175, 228, 134, 43,
        224, 141, 16, 185, 104, 26, 180, 142, 13, 226, 130, 42,
    ]  # fmt: skip
    assert ORDER.epoch(1).rows(np.arange(200, 224)).tolist() == [
        67, 76, 156, 60, 83, 163, 66, 71, 162, 65, 74, 153,
        62, 78, 152, 64, 84, 164, 68, 81, 154, 175, 70, 150,
    ]  # fmt: skip


def test_hashes() -> None:
    # The first is splitmix64's first output for the seed 0, as its authors publish it.
    assert [int(v) for v in mix(np.arange(3, dtype=np.uint64))] == [
        0xE220A8397B1DCDAF,
        10451216379200822465,
        10905525725756348110,
    ]
    assert derive("window", 42, 0) == 12595121741569296329
    assert derive("window") == 9108838036876907487


def test_permutations() -> None:
    small = permute(np.arange(10), np.int64(10), np.uint64(7))
    assert small.tolist() == [4, 5, 8, 3, 7, 0, 9, 2, 6, 1]
    large = permute(np.arange(4) * 10**8, np.int64(10**9), np.uint64(7))
    assert large.tolist() == [425696387, 369575586, 83783437, 251863589]


def test_splits() -> None:
    part = split(Selection.whole(ROWS), [0.1], seed=3)[0]
    assert part.chunk.tolist() == [0] * 7 + [1] + [2] * 9 + [4] * 7
    assert part.start.tolist() == [
        1, 7, 11, 16, 18, 42, 57, 4, 4, 26, 55, 65, 68, 70, 79, 82, 91, 6, 11, 14, 30, 38, 41, 54,
    ]  # fmt: skip


def test_states() -> None:
    assert ORDER.settings() == {
        "seed": 42,
        "shuffle": True,
        "window": 80,
        "lanes": 3,
        "selection": "ca294226dcc7b04d5a093cfceb761782",
        "chunks": "9b4c691ea5cc19a2cd5028ea6210a2ef",
    }
    plan = Plan(epoch=ORDER.epoch(0), batch_size=4, ranks=2, drop_last=False)
    assert plan.coverage(0, 9).to_json() == {
        "count": 72,
        "total": "293a279d5dca4b8eaf74370f3086751d",
    }


def test_generators() -> None:
    some = generator(1, 2, 3).integers(0, 2**32, 3).tolist()
    assert some == [336031566, 2585963862, 2265712004]
    assert generator_for_row(1, 2).integers(0, 2**32, 2).tolist() == [206778580, 1407715611]
