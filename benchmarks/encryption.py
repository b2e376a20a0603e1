"""What encrypting rows costs: CPU seconds of this process, and bytes, by kind and size of a row.

Each figure is the median of several rounds; a round seals, and opens, so many rows of noise.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

from millstream.encryption import AESGCMEncryption, Encryption, FernetEncryption, RSAEncryption

ROUNDS, ROUND_BYTES = 5, 20_000_000


def microseconds(do: Callable[[], object], times: int) -> float:
    """CPU time of one call, by the median of the rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            do()
        found.append((time.process_time() - began) / times * 1e6)
    return statistics.median(found)


def measure(kind: Encryption, size: int) -> tuple[float, float, int]:
    """Microseconds to seal a row and to open it, and how much longer it is then."""
    row, place = os.urandom(size), bytes(32)
    parameters, cipher = kind.sealing().chunk()
    opener, sealed = kind.cipher(parameters), cipher.seal(row, place)
    times = max(1, min(20_000, ROUND_BYTES // size))
    sealing = microseconds(lambda: cipher.seal(row, place), times)
    opening = microseconds(lambda: opener.open(sealed, place), times)
    return sealing, opening, len(sealed) - size


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 100_000, 64_000_000])
    kinds = [AESGCMEncryption("password"), FernetEncryption("password"), RSAEncryption()]
    print(f"{'kind':10}{'bytes':>12}{'seal, us':>14}{'open, us':>14}{'more bytes':>14}")
    for kind in kinds:
        for size in parser.parse_args().sizes:
            sealing, opening, more = measure(kind, size)
            print(f"{kind.kind:10}{size:>12,}{sealing:>14,.1f}{opening:>14,.1f}{more:>14,}")
    for kind in (AESGCMEncryption("password"), RSAEncryption()):
        parameters, _ = kind.sealing().chunk()
        kind.cipher(parameters)
        each = microseconds(lambda kind=kind, found=parameters: kind.cipher(found), 50)
        print(f"opening a chunk of {kind.kind}: {each:,.0f} us")
    began = time.process_time()
    FernetEncryption("password").sealing()
    print(f"a key of a password: {time.process_time() - began:.2f} s")


if __name__ == "__main__":
    main()
