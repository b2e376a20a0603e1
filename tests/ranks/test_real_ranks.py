"""Real ranks of torch.distributed: every sample once over all of them, and steps that match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gang import gang
from ranked_data import ROWS

pytestmark = pytest.mark.timeout(200)
COUNT = ROWS["a"]


def cases(*workers: int) -> list[dict[str, Any]]:
    """One of each way to end an epoch, over rows and some over files, with workers in turn."""
    ways = [
        {"drop_last": True},
        {"drop_last": False},
        {"pad": True},
        {"batch_size": 60, "pad": True},
        {"kind": "raw", "drop_last": False},
        {"kind": "raw", "pad": True},
    ]
    each = [*workers] * len(ways)
    return [
        {"batch_size": 7, "kind": "plain", "num_workers": number, **way}
        for number, way in zip(each, ways, strict=False)
    ]


@pytest.mark.parametrize(
    ("ranks", "workers"), [(2, (0, 1, 2, 3)), (3, (0, 2)), (4, (1, 0)), (8, (0,))]
)
def test_every_sample_once_over_all_ranks(
    place: Path, tmp_path: Path, ranks: int, workers: tuple[int, ...]
) -> None:
    asked = cases(*workers)
    found = gang("epochs", ranks, tmp_path, place=str(place), cases=asked)
    for options, *of_ranks in zip(asked, *found, strict=True):
        for epoch in range(2):
            check_epoch(options, [of_rank[epoch] for of_rank in of_ranks])
        first, second = ([of_rank[n]["steps"] for of_rank in of_ranks] for n in range(2))
        assert first != second


def check_epoch(options: dict[str, Any], ranks: list[dict[str, Any]]) -> None:
    batch, world = options["batch_size"], len(ranks)
    assert all(rank["exact"] for rank in ranks), ranks[0]["text"]
    assert len({rank["text"] for rank in ranks}) == 1
    assert [rank["len"] for rank in ranks] == [len(rank["steps"]) for rank in ranks]
    fresh = [i for rank in ranks for i in without_repeats(rank)]
    assert len(set(fresh)) == len(fresh) == ranks[0]["count"]
    sizes = [[len(step) for step in rank["steps"]] for rank in ranks]
    if options.get("drop_last"):
        assert len(fresh) == COUNT - COUNT % (batch * world)
        assert sizes == [[batch] * (COUNT // (batch * world))] * world
        return
    assert sorted(fresh) == list(range(COUNT))
    if options.get("pad"):
        steps = -(-COUNT // (batch * world))
        assert sizes == [[batch] * steps] * world
        assert sum(sum(rank["padded"]) for rank in ranks) == steps * batch * world - COUNT
    else:
        shares = [sum(of_rank) for of_rank in sizes]
        assert max(shares) - min(shares) <= 1
        assert not any(any(rank["padded"]) for rank in ranks)


def without_repeats(rank: dict[str, Any]) -> list[int]:
    pairs = zip(rank["steps"], rank["padded"], strict=True)
    return [i for step, padded in pairs for i in step[: len(step) - padded]]


def test_a_ddp_loop_ends_on_all_ranks(place: Path, tmp_path: Path) -> None:
    """227 samples are one global batch of 3 * 75, and one for two ranks."""
    asked: list[dict[str, Any]] = [
        {"batch_size": 75, "drop_last": True},
        {"batch_size": 75, "pad": True},
        {"batch_size": 75, "pad": "again"},
        {"batch_size": 75, "drop_last": False, "join": True},
    ]
    found = gang("trained", 3, tmp_path, place=str(place), cases=asked)
    assert [steps[:3] for steps in found] == [[1, 2, 2]] * 3
    assert [steps[3] for steps in found] == [2, 2, 1]


def test_a_loader_made_before_the_ranks_were_known(place: Path, tmp_path: Path) -> None:
    found = gang("made_early", 2, tmp_path, place=str(place))
    for rank, one in enumerate(found):
        assert (one["before"], one["len"], one["given"]) == (29, 15, 29)
        assert one["exact"]
        assert one["source"] == "torch.distributed"
        assert f"rank {rank} of 2" in one["refused"]
    assert sorted(i for one in found for i in one["seen"]) == list(range(COUNT))


def test_a_rank_that_drops_or_doubles_a_batch_is_found(place: Path, tmp_path: Path) -> None:
    found = gang("disturbed", 2, tmp_path, place=str(place))
    dropped, doubled = ([of_rank[n] for of_rank in found] for n in range(2))
    for ranks in (dropped, doubled):
        assert not any(one["exact"] for one in ranks)
        assert ranks[0]["text"] == ranks[1]["text"]
    assert [one["alone"] for one in dropped] == [True, True]
    assert [one["alone"] for one in doubled] == [True, False]
    assert dropped[0]["text"].endswith(
        "not as planned: rank 1 has yet to read 5 rows that are planned up to here"
    )
    assert "rank 1, steps 0 to 4: 25 rows as planned, but not the planned" in doubled[0]["text"]


def test_processes_of_a_replica_get_the_same(place: Path, tmp_path: Path) -> None:
    found = gang("grouped", 4, tmp_path, place=str(place))
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert all(exact and count == 224 for _, exact, count in found)
    seen = [i for steps, *_ in (found[0], found[2]) for step in steps for i in step]
    assert len(set(seen)) == len(seen) == 224
