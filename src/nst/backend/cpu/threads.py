"""How many threads this process may use: CPU affinity and the cgroup's quota, whichever is less."""

from __future__ import annotations

import math
import os
from pathlib import Path


def available_threads(cgroup_root: Path = Path("/sys/fs/cgroup")) -> int:
    """Returns the number of CPUs that the scheduler will really give to this process, at least 1."""
    quota = _cgroup_quota(cgroup_root)
    cpus = _affinity()
    return max(1, cpus if quota is None else min(cpus, math.ceil(quota)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_quota(root: Path) -> float | None:
    """CPUs granted by the container's limit (cgroup v2, then v1); None if there is no limit."""
    words = _words(root / "cpu.max")
    if len(words) == 2 and words[0] != "max":
        return int(words[0]) / int(words[1])
    quota, period = _words(root / "cpu/cpu.cfs_quota_us"), _words(root / "cpu/cpu.cfs_period_us")
    if quota and period and int(quota[0]) > 0:
        return int(quota[0]) / int(period[0])
    return None


def _words(path: Path) -> list[str]:
    return path.read_text().split() if path.is_file() else []
