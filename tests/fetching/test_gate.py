"""How many requests at once: what pays on a link, found by looking at nothing but what came."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from links import Link, run

from millstream.reading.fetching.gate import FIRST, MOST, Gate

MB = 1e6


@pytest.mark.parametrize("knee", [1, 4, 8, 12, 24, 40, 64, 200])
def test_it_finds_the_knee_of_a_link(knee: int) -> None:
    # So many connections fill it; more of them only wait for each other.
    link = Link(delay=0.03, rate=50 * MB * knee, connection=50 * MB)
    gate = Gate(link.clock)
    limits = run(gate, link, 3_000)
    reached = min(knee, MOST)
    assert min(limits[len(limits) // 2 :]) >= 0.8 * reached
    assert max(limits) <= 2 * max(2 * reached, FIRST)  # a trial beyond it
    assert statistics.mode(limits) <= max(2 * reached, FIRST)
    assert FIRST <= gate.limit <= MOST


def test_it_falls_back_when_more_at_once_carry_less_and_recovers() -> None:
    link = Link(delay=0.03, rate=2_000 * MB, connection=50 * MB)
    gate = Gate(link.clock)
    run(gate, link, 1_000)
    high = gate.limit
    assert high >= 30
    # A server that makes everybody wait, as one that refuses for a while does.
    link.delay, link.connection = 1.0, 2 * MB
    run(gate, link, 200)
    low = gate.limit
    assert low < high
    link.delay, link.connection = 0.03, 50 * MB
    run(gate, link, 3_000)
    assert gate.limit > low


@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 1 << 30), st.booleans()), max_size=500),
    st.integers(1, 8),
    st.integers(8, 64),
)
def test_it_stays_within_its_bounds_whatever_comes(
    events: list[tuple[float, int, bool]], first: int, most: int
) -> None:
    now = 0.0
    gate = Gate(lambda: now, first=first, most=most)
    for seconds, nbytes, held_up in events:
        now += seconds
        if held_up:
            gate.held_up()
        gate.came(nbytes)
        assert first <= gate.limit <= most


def test_an_idle_time_is_not_measured() -> None:
    def limits(idle: float) -> list[int]:
        link = Link(delay=0.03, rate=2_000 * MB, connection=50 * MB)
        gate = Gate(link.clock)
        seen = []
        for _ in range(30):
            seen += run(gate, link, 20)
            link.now += idle
        return seen

    assert limits(0.0) == limits(1_000.0)


def test_without_waiting_there_is_no_reason_for_more() -> None:
    link = Link(delay=0.03, rate=2_000 * MB, connection=50 * MB)
    gate = Gate(link.clock)
    for _ in range(200):
        run(gate, link, FIRST)
    assert gate.limit == FIRST
