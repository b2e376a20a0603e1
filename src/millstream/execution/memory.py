"""How much memory a process may still take."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# The limit of a container and what it uses: of the second version of control groups, and the first.
CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def free_memory() -> int:
    """Bytes that are free on this machine, and in the container that this process runs in."""
    return min([_of_machine(), *_of_containers()])


def _of_machine() -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _of_containers() -> list[int]:
    found = []
    for limit, used in CONTAINER:
        with suppress(OSError, ValueError):  # not that version; "max" is no limit
            found.append(max(0, int(Path(limit).read_text()) - int(Path(used).read_text())))
    return found
