"""JAX and plain Python: numpy batches of a rank are those of a loader, with the same state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ranked_data import KINDS, numbers, opened
from scripts import start

import millstream as ms


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ways", [{}, {"drop_last": False}, {"pad": True}])
def test_a_rank_gets_the_batches_and_the_state_of_a_loader(
    place: Path, kind: str, ways: dict[str, Any]
) -> None:
    for rank in range(3):
        shape = {"batch_size": 16, "rank": rank, "ranks": 3, **ways}
        loader = ms.StreamingDataLoader(opened(place, kind), **shape)
        plain = opened(place, kind).batches(**shape)
        for _ in range(2):
            theirs = list(loader)
            ours = list(plain)
            assert [numbers(one, kind) for one in ours] == [numbers(one, kind) for one in theirs]
            assert plain.state_dict() == loader.state_dict()
            assert plain.coverage() == loader.coverage()
            assert plain.padded == loader.padded


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_goes_from_one_to_the_other(place: Path, kind: str) -> None:
    plain = opened(place, kind).batches(8, rank=1, ranks=2)
    whole = [numbers(batch, kind) for batch in plain]
    again = opened(place, kind).batches(8, rank=1, ranks=2)
    next(iter(again))
    loader = ms.StreamingDataLoader(opened(place, kind), batch_size=8, rank=1, ranks=2)
    loader.load_state_dict(json.loads(json.dumps(again.state_dict())))
    rest = iter(loader)
    assert numbers(next(rest), kind) == whole[1]
    back = opened(place, kind).batches(8, rank=1, ranks=2)
    back.load_state_dict(loader.state_dict())
    assert [numbers(batch, kind) for batch in back] == whole[2:]


def test_it_needs_no_torch(place: Path) -> None:
    """And reports of ranks that travelled as JSON are put together."""
    process = start(
        """
        import json, sys
        sys.modules["torch"] = None
        import millstream as ms
        reports = []
        for rank in range(2):
            batches = ms.StreamingDataset(sys.argv[1], shuffle=True).batches(16, rank=rank, ranks=2)
            list(batches)
            reports.append(json.dumps(batches.coverage().to_json()))
        first, second = (type(batches.coverage()).from_json(json.loads(one)) for one in reports)
        assert second == batches.coverage()
        print(first.combined([second]))
        """,
        place / "a",
    )
    out, err = process.communicate(timeout=60)
    assert out.strip() == (
        "epoch 0, all 2 ranks: positions 0 to 224: all 224 planned rows came once, and no other"
    ), err
