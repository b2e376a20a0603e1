"""What is told ahead of a stream: the rank's files, in the order in which it reads them."""

from __future__ import annotations

from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from millstream.plan import Order, Selection
from millstream.reading.fetching.asks import ListedNeeds
from millstream.reading.fetching.client import Following
from millstream.reading.raw import ahead
from millstream.reading.raw.ahead import FilesAhead
from millstream.reading.reader import Rows


class Heard:
    """Takes the place of the connection to the fetcher."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []  # (row, position)
        self.position = 0

    def at(self, position: int) -> None:
        self.position = position

    def tell(self, needs: ListedNeeds) -> None:
        self.told += zip(map(int, needs.place.split()), needs.positions, strict=True)


def as_needs(rows: Rows, positions: Rows) -> ListedNeeds:
    return ListedNeeds(
        place=" ".join(map(str, rows.tolist())), listed=[], positions=positions.tolist()
    )


@given(st.data())
def test_each_file_is_told_once_in_order_and_soon_enough(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 3 * ahead.AHEAD))
    ranks = data.draw(st.integers(1, 5))
    rank = data.draw(st.integers(0, ranks - 1))
    rows = np.ones(count, np.int64)
    order = Order(
        chunk_rows=rows,
        selection=Selection.whole(rows),
        seed=1,
        shuffle=True,
        window=count,
        lanes=3,
    )
    epochs = [order.epoch(4), order.epoch(5)]
    start = data.draw(st.integers(0, count - 1))
    heard = Heard()
    files = FilesAhead(cast(Following, heard), epochs, rank, ranks, as_needs)
    position = start
    files.at(position)
    while position < count:
        mine = [p for p in range(position, min(position + 200, count)) if p % ranks == rank]
        assert set(mine) <= {at for _, at in heard.told}  # before it is read
        position = min(position + data.draw(st.integers(1, 3_000)), count)
        files.at(position)
    expected = [
        (int(row), before + at)
        for epoch, before in zip(epochs, (0, count), strict=True)
        for at, row in enumerate(epoch.rows(np.arange(count)).tolist())
        if at % ranks == rank
    ]
    skipped = [pair for pair in expected if pair[1] >= start]
    assert heard.told == skipped[: len(heard.told)]
    # Into the next epoch as well.
    assert len(heard.told) >= min(len(skipped), ahead.AHEAD // 2)
    assert heard.position == count
