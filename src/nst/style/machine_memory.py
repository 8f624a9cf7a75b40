"""How much memory this process has, and how much more the machine, its container and its limits leave.

Linux tells all of it; elsewhere `available_bytes` is None and nothing is refused for want of memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def available_bytes(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int | None:
    """Bytes that this process can still take before something gives: the least of all limits."""
    limits = [_free_of_machine(proc), *_free_of_cgroups(proc, cgroups), _free_of_process(proc)]
    known = [limit for limit in limits if limit is not None]
    return max(0, min(known)) if known else None


def resident_bytes(proc: Path = _PROC) -> int:
    """Memory that this process holds now; 0 where the system does not tell."""
    return (_field(proc / "self/status", "VmRSS") or 0) * 1024


def peak_bytes(proc: Path = _PROC) -> int:
    """The most that this process has held, since `forget_peak` or its start."""
    peak = _field(proc / "self/status", "VmHWM")
    if peak is not None:
        return peak * 1024
    if sys.platform == "win32":
        return 0
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def forget_peak(proc: Path = _PROC) -> None:
    """Starts `peak_bytes` anew, where the system lets it."""
    try:
        (proc / "self/clear_refs").write_text("5")
    except OSError:
        return


def _free_of_machine(proc: Path) -> int | None:
    kilobytes = _field(proc / "meminfo", "MemAvailable")
    return None if kilobytes is None else kilobytes * 1024


def _free_of_process(proc: Path) -> int | None:
    """What RLIMIT_AS leaves of the address space."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = _field(proc / "self/status", "VmSize")
    return None if limit == resource.RLIM_INFINITY or used is None else limit - used * 1024


def _free_of_cgroups(proc: Path, root: Path) -> Iterator[int | None]:
    """What each limit above this process leaves; file pages that can be dropped count as free."""
    for line in _lines(proc / "self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = base / path.lstrip("/")
        for place in (folder, *folder.parents):
            yield _left(place, *names)
            if place == base:
                break


def _left(folder: Path, limit_name: str, used_name: str, cache_name: str) -> int | None:
    limit, used = _lines(folder / limit_name), _lines(folder / used_name)
    if not limit or not used or not limit[0].isdigit():  # "max" is none
        return None
    cache = _field(folder / "memory.stat", cache_name) or 0
    return int(limit[0]) - int(used[0]) + cache


def _field(path: Path, name: str) -> int | None:
    """The number after `name` or `name:` in a file of such lines."""
    for line in _lines(path):
        words = line.replace(":", " ").split()
        if words and words[0] == name:
            return int(words[1])
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
