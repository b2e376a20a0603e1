"""Which request is hurt: laws over rules, and the same choice in any order of arrival."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.faults import (
    KINDS,
    Chooser,
    Fault,
    Flip,
    Reset,
    Stall,
    Status,
    clock_skew,
    expired_token,
    from_json,
    slow_down,
    to_json,
    too_many_requests,
)

TARGETS = st.sampled_from(["/b/a", "/b/c", "/b/c?partNumber=1", "/other"])
REQUESTS = st.tuples(
    st.sampled_from(["GET", "PUT"]), TARGETS, st.sampled_from([None, "bytes=0-9", "bytes=10-"])
)
RULES = st.builds(
    Flip,
    method=st.sampled_from([None, "GET", "PUT"]),
    path=st.sampled_from(["", "^/b/", "partNumber"]),
    has_range=st.sampled_from([None, True, False]),
    per_key=st.booleans(),
    probability=st.sampled_from([0.0, 0.5, 1.0]),
    times=st.sampled_from([None, 0, 1, 3]),
    skip=st.integers(0, 3),
)


@given(st.lists(REQUESTS, max_size=40), RULES)
def test_a_rule_hits_what_it_matches_after_some_and_not_too_often(
    requests: list[tuple[str, str, str | None]], rule: Flip
) -> None:
    chooser = Chooser(0, [rule])
    matched: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for method, target, span in requests:
        key = target.partition("?")[0] if rule.per_key else ""
        fits = (
            rule.method in (None, method)
            and rule.has_range in (None, span is not None)
            and rule.matches(method, target, span)
        )
        matched[key] += fits
        may = fits and matched[key] > rule.skip and hit[key] != rule.times
        chosen = chooser.choose(method, target, span)
        assert chosen in (None, rule)
        if rule.probability != 0.5:
            assert (chosen is rule) == (may and rule.probability == 1)
        assert may or chosen is None
        hit[key] += chosen is rule


@given(st.permutations(range(40)), st.integers(0, 5))
def test_chance_does_not_depend_on_the_order_of_arrival(order: list[int], seed: int) -> None:
    def hit(numbers: list[int]) -> set[int]:
        chooser = Chooser(seed, [Reset(probability=0.3)])
        return {n for n in numbers if chooser.choose("GET", f"/key-{n}", None)}

    assert hit(order) == hit(list(range(40)))


def test_chance_is_as_asked_and_differs_by_seed_and_by_try() -> None:
    def hits(seed: int) -> list[bool]:
        chooser = Chooser(seed, [Reset(probability=0.05)])
        return [chooser.choose("GET", f"/{n % 100}", None) is not None for n in range(20_000)]

    assert 800 < sum(hits(0)) < 1200
    assert hits(0) == hits(0) != hits(1)
    assert hits(0)[:100] != hits(0)[100:200]  # what failed once can succeed when tried again


def test_the_first_rule_whose_turn_it_is_wins() -> None:
    first, second = slow_down(times=1), Flip(times=1)
    chooser = Chooser(0, [first, second])
    assert [chooser.choose("GET", "/", None) for _ in range(3)] == [first, second, None]


EXAMPLES = [
    slow_down(method="GET", per_key=True, times=2),
    too_many_requests(retry_after=3),
    clock_skew(path="part"),
    expired_token(),
    *(kind(probability=0.5) for kind in KINDS.values() if kind is not Status),
    Stall(after=7, seconds=0.5),
]


@pytest.mark.parametrize("fault", EXAMPLES, ids=lambda fault: type(fault).__name__)
def test_faults_travel_as_json(fault: Fault) -> None:
    assert from_json(json.loads(json.dumps(to_json(fault)))) == fault
