"""The order once more, as simply as can be: plain integers, loops, every step written out.

Nothing of the library is used, so that what agrees with this was not wrong in the same way.
"""

from __future__ import annotations

from hashlib import blake2b

Interval = tuple[int, int, int, int]  # chunk, start, stop, copy

BITS = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    z = (z + GOLDEN) & BITS
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & BITS
    return z ^ (z >> 31)


def derive(purpose: str, *words: int) -> int:
    text = repr((purpose, *words)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def keyed(key: int, word: int) -> int:
    return mix((mix(word) + key) & BITS)


def permutation(size: int, key: int) -> list[int]:
    """Where 0 to size - 1 go."""
    if size <= 64:
        hashes = [keyed(key, n) for n in range(size)]
        return [sorted(hashes).index(one) for one in hashes]
    return [walk(n, size, mix(key)) for n in range(size)]


def walk(value: int, size: int, key: int) -> int:
    bits = (size - 1).bit_length()
    low = bits // 2
    while True:
        left, right = value >> low, value & ((1 << low) - 1)
        for n in range(6):
            word = (left << low) if n % 2 == 0 else right
            # mix() adds GOLDEN once, round n adds it n times more.
            changed = mix((word + key + GOLDEN * n) & BITS)
            if n % 2 == 0:
                right ^= changed & ((1 << low) - 1)
            else:
                left ^= (changed >> low) & ((1 << (bits - low)) - 1)
        value = left << low | right
        if value < size:
            return value


def window_sizes(rows: int, full: int) -> list[int]:
    sizes, size = [], 64
    while rows:
        sizes.append(min(size, full, rows))
        rows -= sizes[-1]
        size = min(2 * size, full)
    return sizes


def line(chunk_rows: list[int], intervals: list[Interval], key: int | None) -> list[int]:
    """The selected rows, chunk by chunk."""
    if key is not None:
        chunks = len(chunk_rows)
        intervals = sorted(intervals, key=lambda one: keyed(key, one[3] * chunks + one[0]))
    return [
        sum(chunk_rows[:chunk]) + row
        for chunk, start, stop, _ in intervals
        for row in range(start, stop)
    ]


def lane(rows: list[int], number: int, words: tuple[int, int], full: int) -> list[int]:
    """The rows of a lane, permuted window by window."""
    read, base = [], derive("window", *words)
    for window, size in enumerate(window_sizes(len(rows), full)):
        here = rows[len(read) : len(read) + size]
        read += [here[n] for n in permutation(size, keyed(keyed(base, number), window))]
    return read


def epoch(
    chunk_rows: list[int],
    intervals: list[Interval],
    *,
    words: tuple[int, int],
    shuffle: bool,
    window: int,
    lanes: int,
) -> list[int]:
    """The row at each position. words: seed and number of the epoch."""
    rows = line(chunk_rows, intervals, derive("chunks", *words) if shuffle else None)
    N, cut = len(rows), []
    for number in range(lanes):
        size = N // lanes + (number < N % lanes)
        cut.append(rows[:size])
        rows = rows[size:]
    if shuffle:
        cut = [lane(some, number, words, window) for number, some in enumerate(cut)]
    return [cut[position % lanes][position // lanes] for position in range(N)]
