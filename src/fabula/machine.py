"""The machine as this process may use it: its cores and its free memory; knows no network and no text."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

LOOKS = 5
"""How often `is_quiet` looks: what computes in all of them goes on."""

BETWEEN = 0.004
"""Seconds between two looks."""


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_quiet(looks: int = LOOKS) -> bool:
    """Whether no other program computes just now; False where the system does not say."""
    seen = []
    try:
        for look in range(looks):
            time.sleep(BETWEEN if look else 0)
            seen.append(int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].split("/")[0]))
    except (OSError, ValueError, IndexError):
        return False
    return min(seen) <= 1  # this thread itself


def free_memory() -> int | None:
    """Bytes this process may still take: of the machine or of its container; None where the system does not say."""
    found = list(_free())
    return min(found) if found else None


def _free() -> Iterator[int]:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        yield next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        group = Path("/sys/fs/cgroup")
        most, used = ((group / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        if most != "max":
            yield max(0, int(most) - int(used))
    except (OSError, ValueError):
        return
