"""Plain DataLoaders share what ranks have of every dataset; ranks that were killed lose nothing."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest
from gang import gang
from ranked_data import KINDS, numbers, opened

pytestmark = pytest.mark.timeout(200)


def everything(place: Path, kind: str, epoch: int = 0) -> list[str]:
    batches = opened(place, kind).batches(64)
    batches.set_epoch(epoch)
    return sorted(str(i) for batch in batches for i in numbers(batch, kind))


def test_plain_loaders_of_real_ranks(place: Path, tmp_path: Path) -> None:
    cases = [{"kind": kind, "workers": n % 3} for n, kind in enumerate(KINDS)]
    found = gang("under_torch", 3, tmp_path, place=str(place), cases=cases)
    for case, *ranks in zip(cases, *found, strict=True):
        for epoch in range(2):
            came = [of_rank[epoch] for of_rank in ranks]
            assert sorted(map(str, chain(*came))) == everything(place, str(case["kind"]), epoch)
            assert max(map(len, came)) - min(map(len, came)) <= 1
        assert ranks[0][0] != ranks[0][1]


@pytest.mark.parametrize(("kind", "workers"), [("plain", 2), ("mixed", 0)])
def test_ranks_go_on_after_one_was_killed(
    place: Path, tmp_path: Path, kind: str, workers: int
) -> None:
    """Of four ranks the last dies in the middle of a step; three go on from the state of rank 0."""
    told = {"place": str(place), "kind": kind}
    gang("killed", 4, tmp_path / "first", dies=3, saves=str(tmp_path), workers=workers, **told)
    saved = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(4)]
    state, done = saved[0]["state"], len(saved[0]["steps"])
    assert done == 5
    assert state["position"] == done * 16
    found = gang("went_on", 3, tmp_path / "then", state=state, **told)
    assert all(rank["exact"] for rank in found)
    before = [step for rank in saved for step in rank["steps"][:done]]
    after = [step for rank in found for step in rank["rest"]]
    assert sorted(map(str, chain(*before, *after))) == everything(place, kind)
