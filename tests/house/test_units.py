"""Bytes as people write and read them."""

from __future__ import annotations

import pytest

from millstream.errors import UsageError
from millstream.units import parse_size, size_text


def test_sizes_from_text() -> None:
    texts = ("64MB", "64MiB", "1.5 kB", "10", 7, "2TB")
    expected = [64_000_000, 67_108_864, 1_500, 10, 7, 2_000_000_000_000]
    assert [parse_size(text, "size") for text in texts] == expected


@pytest.mark.parametrize("bad", ["", "lots", "-1MB", "0", 0, -3, True, None, 1.5, "1 PB"])
def test_what_is_no_size_is_said(bad: object) -> None:
    with pytest.raises(UsageError, match=r"cache is .*expected bytes such as"):
        parse_size(bad, "cache")  # type: ignore[arg-type]


def test_sizes_as_text() -> None:
    counts = (0, 999, 1_000, 44_640, 133_800_000, 5e12, 5e15)
    expected = ["0 B", "999 B", "1.0 kB", "44.6 kB", "133.8 MB", "5.0 TB", "5000.0 TB"]
    assert list(map(size_text, counts)) == expected
