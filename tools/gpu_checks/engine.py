"""The engine as the checks use it: a backend on the GPU, or on the processor that stands in for one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache
from statistics import median
from typing import Any

import numpy as np

from gpu_checks.stages import ROOT, Scale
from nst.backend import Backend


def make_backend(scale: Scale, precision: str) -> Backend:
    """A new backend of a precision; all of a process share one device, whose stream orders their work."""
    from nst.backend.cuda.backend import CudaBackend

    return CudaBackend(_device(scale.dry), precision=precision)


@cache
def _device(dry: bool) -> Any:
    if dry:
        sys.path.insert(0, str(ROOT / "tests"))
        from backend.cuda.host_device import HostDevice

        return HostDevice()
    from nst.backend.cuda.cuda_device import device_of_process

    return device_of_process(False)


def seconds_of(backend: Backend, launch: Callable[[], object], repeats: int = 10) -> float:
    """Median seconds of one launch: by events on the GPU, after one to warm up."""
    launch()
    backend.synchronize()
    device: Any = getattr(backend, "device", None)
    if not hasattr(device, "stream"):
        return median(_by_clock(backend, launch) for _ in range(min(repeats, 3)))
    runtime, times = device.xp.cuda, []
    for _ in range(repeats):
        begin, end = runtime.Event(), runtime.Event()
        begin.record(device.stream)
        launch()
        end.record(device.stream)
        end.synchronize()
        times.append(runtime.get_elapsed_time(begin, end) / 1e3)
    return float(median(times))


def wall_seconds(wait: Callable[[], object], work: Callable[[], object]) -> float:
    """Seconds until `work` is done, launches and waiting included."""
    wait()
    begin = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - begin


def relative_error(got: Any, expected: Any) -> float:
    """L2 norm of the difference over that of the expected values."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    return float(np.linalg.norm(got - expected) / (np.linalg.norm(expected) or 1.0))


def used_bytes(backend: Backend) -> int:
    """Device memory in use by arrays; 0 on the stand-in."""
    xp: Any = backend.xp
    pool = getattr(xp, "get_default_memory_pool", None)
    return int(pool().used_bytes()) if pool else 0


def _by_clock(backend: Backend, launch: Callable[[], object]) -> float:
    return wall_seconds(backend.synchronize, launch)
