"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]


def machine() -> dict[str, str]:
    """In words, for people."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "cpu": f"{os.cpu_count()} x {_cpu_model()}",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "file system": _file_system(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "millstream": _commit(),
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or "unknown"


def _file_system() -> str:
    """Of this folder: the mount with the longest matching path."""
    here = str(ROOT)
    mounts = [m for m in psutil.disk_partitions(all=True) if here.startswith(m.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()
