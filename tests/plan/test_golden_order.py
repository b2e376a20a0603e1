"""Golden numbers: they may never change, or every checkpoint there is would go on elsewhere.

Those of permutations and orders agree with small_order.py, which computes them by plain loops.
"""

from __future__ import annotations

import numpy as np

from millstream.plan import (
    Group,
    Mixture,
    Order,
    Plan,
    Selection,
    decoding_keys,
    decoding_keys_for_rows,
    derive,
    generator,
    generator_for_row,
    mix,
    permute,
    shuffled,
    split,
    uniforms,
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
        180, 119, 175, 179, 92, 49, 218, 124, 47, 187, 120, 46,
        205, 113, 7, 215, 122, 23, 190, 90, 16, 208, 87, 1,
    ]  # fmt: skip
    assert ORDER.epoch(1).rows(np.arange(200, 224)).tolist() == [
        59, 81, 155, 58, 76, 162, 68, 73, 156, 61, 84, 158,
        64, 82, 150, 63, 77, 165, 56, 79, 154, 62, 70, 152,
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
    few = permute(np.arange(10), 10, 7)
    assert few.tolist() == [1, 4, 0, 8, 2, 7, 3, 6, 5, 9]
    some = permute(np.arange(10), 100, 7)
    assert some.tolist() == [5, 70, 52, 67, 57, 93, 2, 14, 44, 45]
    many = permute(np.arange(4) * 10**8, 10**9, 7)
    assert many.tolist() == [566192777, 585505718, 757441697, 404167477]
    assert shuffled(np.arange(8), 7).tolist() == [2, 0, 4, 6, 1, 7, 5, 3]


def test_mixtures() -> None:
    tree = Group(members=(0, 1), weights=(0.7, 0.3), until_all=False)
    other = Order(
        chunk_rows=ROWS, selection=Selection.whole(ROWS), seed=1, shuffle=False, window=1, lanes=3
    )
    stratified = Mixture(sources=(ORDER, other), tree=tree, seed=9)
    assert stratified.epoch(0).rows(np.arange(24)).tolist() == [
        180, 119, 400, 179, 92, 175, 240, 124, 401, 241, 120, 49,
        218, 320, 47, 187, 321, 46, 205, 113, 7, 215, 322, 402,
    ]  # fmt: skip
    assert stratified.epoch(1).rows(np.arange(300, 312)).tolist() == [
        76, 158, 431, 73, 150, 61, 84, 165, 432, 82, 154, 64,
    ]  # fmt: skip
    assert stratified.settings() == {
        "seed": 9,
        "batching_method": "stratified",
        "lanes": 3,
        "global_batch": None,
        "shuffle": [True, False],
        "windows": [80, 1],
        "iterate_over_all": False,
        "weights": [0.7, 0.3],
        "mixing": "6d85acd3",
        "datasets": ["4b65d8a7", "25a15adb"],
    }
    per_stream = Mixture(sources=(ORDER, other), tree=tree, seed=9, global_batch=4)
    assert per_stream.epoch(0).rows(np.arange(24)).tolist() == [
        180, 119, 175, 179, 92, 49, 218, 124, 240, 320, 400, 241,
        47, 187, 120, 46, 205, 113, 7, 215, 122, 23, 190, 90,
    ]  # fmt: skip


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
        "total": "48b20f14e331df7be2731b5b19433b37",
    }


def test_generators() -> None:
    some = generator(1, 2, 3).integers(0, 2**32, 3).tolist()
    assert some == [336031566, 2585963862, 2265712004]
    assert generator_for_row(1, 2).integers(0, 2**32, 2).tolist() == [206778580, 1407715611]


def test_what_decoding_draws() -> None:
    keys = decoding_keys(1, 2, np.array([0, 3]))
    assert keys.tolist() == [16077009730693866180, 5967551187393106477]
    assert decoding_keys_for_rows(1, np.array([2])).tolist() == [16646088912835839007]
    assert uniforms(keys, 2).tolist() == [
        [0.34186997577262057, 0.7980651144679989],
        [0.9816366223655922, 0.9618873913226675],
    ]
