"""A job tried at two small sizes in a process of its own: what time and memory really are here.

`python -m nst.style.probe` reads a pickled request from stdin and prints its measurements as JSON. A process
of its own, because the peak of memory is a property of a process, and so that nothing of it remains.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import json
import os
import pickle
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from nst.backend import get_backend
from nst.errors import NstError, SolverError
from nst.proto import SolverParameter
from nst.solvers.curvature import CurvaturePairs
from nst.style.job import StyleJob
from nst.style.machine_memory import forget_peak, peak_bytes, resident_bytes
from nst.style.run import Progress, StyleRun
from nst.style.schedule import SMALLEST_SIDE, Stage
from nst.style.settings import at_precision

SIZES = (128, 256, 384)
"""The first size, and the least and the largest that the second may have."""
ITERATIONS = (3, 30)
ENOUGH_SECONDS = 1.0
"""A size is tried for so many iterations, the fewest at least, more until they took this long together."""
PAIRS = 2
"""lbfgs_corrections while probing: the cost of a pair is measured apart."""

EVALUATION_SECONDS = 1.0
"""The second size is the largest whose evaluation should stay below this."""


_LARGE_RUN = {"MALLOC_MMAP_THRESHOLD_": str(1 << 17)}
"""Lets glibc give arrays back at once, as it always does with those of large pictures."""


@dataclass(frozen=True)
class Measurement:
    """What a few iterations at one size took."""

    size: int
    pixels: int
    setup_s: float
    evaluation_s: float
    peak_bytes: int
    """Growth of the process over what the loaded job took, at its highest."""
    steady_bytes: int
    """The same between two iterations, when snapshots are written."""


@dataclass(frozen=True)
class Probe:
    """All measurements of a job, the smaller size first."""

    measurements: tuple[Measurement, ...]
    pair_s: float
    """Seconds that one remembered pair of L-BFGS takes per value of the picture and iteration."""


def probe(job: StyleJob) -> Probe:
    """Tries the job in other processes, one per size; raises SolverError if that fails."""
    target = max(stage.size for stage in job.stages)
    first, pair_s = _in_own_process(job, min(target, SIZES[0]))
    if target <= first.size:
        return Probe((first,), pair_s)
    affordable = round(first.size * (EVALUATION_SECONDS / first.evaluation_s) ** 0.5)
    size = min(target, SIZES[2], max(affordable, SIZES[1]))
    last, pair_s = _in_own_process(job, size)
    return Probe((first, last), pair_s)


def _in_own_process(job: StyleJob, size: int) -> tuple[Measurement, float]:
    request = {
        "job": dataclasses.replace(job, backend=None),  # type: ignore[arg-type]
        "backend": job.backend.name,
        "threads": getattr(getattr(job.backend, "engine", None), "threads", None),
        "size": size,
    }
    done = subprocess.run(
        [sys.executable, "-m", "nst.style.probe"],
        input=pickle.dumps(request),
        capture_output=True,
        check=False,
        env={**os.environ, **_LARGE_RUN, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise SolverError(f"the job could not be tried at a small size ({lines[-1]})")
    values = json.loads(done.stdout.splitlines()[-1])
    return Measurement(**values["measurement"]), values["pair_s"]


def main() -> int:
    """The process that measures."""
    request = pickle.load(sys.stdin.buffer)  # from our own parent only
    backend = get_backend(request["backend"], threads=request["threads"])
    job: StyleJob = request.pop("job")
    job = dataclasses.replace(job, backend=at_precision(backend, job.style_param))
    base = resident_bytes()
    try:
        _measure(job, SMALLEST_SIDE * 2, base, 0.0)  # threads, libraries and caches wake up
        gc.collect()
        memory = _measure(job, request["size"], base, 0.0)
        _keep_freed_memory()
        timed = _measure(job, request["size"], base, ENOUGH_SECONDS)
    except NstError as error:
        print(error, file=sys.stderr)
        return 1
    measurement = dataclasses.replace(
        timed, peak_bytes=memory.peak_bytes, steady_bytes=memory.steady_bytes
    )
    pair_s = _pair_seconds(job, measurement.pixels * 3)
    print(json.dumps({"measurement": dataclasses.asdict(measurement), "pair_s": pair_s}))
    return 0


def _keep_freed_memory() -> None:
    """Undoes `_LARGE_RUN`: arrays up to 32 MB come from memory that glibc keeps, as they do in a real run.

    Fresh pages for every array of numpy's took half as long again as the computation.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
        mallopt(m_mmap_threshold, 32 << 20)
        mallopt(m_trim_threshold, 64 << 20)


def _measure(job: StyleJob, size: int, base: int, seconds: float) -> Measurement:
    """Runs a job at one size for the fewest iterations, and on until they took that long."""
    settings = SolverParameter()
    settings.CopyFrom(job.settings)
    settings.lbfgs_corrections = PAIRS
    fewest, most = ITERATIONS
    stage = Stage(max(size, SMALLEST_SIDE), most)
    seen: list[Progress] = []
    steady: list[int] = []

    def observe(progress: Progress, run: StyleRun) -> None:
        seen.append(progress)
        steady.append(resident_bytes() - base)
        if len(seen) >= fewest and progress.elapsed_s - seen[0].elapsed_s >= seconds:
            run.stop()

    run = StyleRun(dataclasses.replace(job, settings=settings, stages=(stage,)), [observe])
    forget_peak()
    run.run()
    if run.failure is not None:
        raise run.failure
    first, last = seen[0], seen[-1]
    evaluations = last.record.evaluations - first.record.evaluations
    # the mean, not the median: what disturbs the probe will disturb the run as well
    evaluation_s = (
        (last.elapsed_s - first.elapsed_s) / evaluations if evaluations else last.elapsed_s
    )
    setup_s = max(0.0, first.elapsed_s - evaluation_s * first.record.evaluations)
    height, width = last.size
    return Measurement(
        stage.size,
        height * width,
        setup_s,
        evaluation_s,
        max(0, peak_bytes() - base),
        max(0, *steady),
    )


def _pair_seconds(job: StyleJob, count: int) -> float:
    """Time of one pair of the two-loop recursion per value."""
    backend, pairs = job.backend, 4
    memory = CurvaturePairs(pairs, count, np.float32, backend)
    rng = np.random.default_rng(0)
    vector: Any = backend.asarray(rng.normal(size=count), np.float32)
    for _ in range(pairs):
        memory.push(vector, vector)
    free = backend.asarray(np.ones(count), np.float32) if job.style_param.clamp else None
    times = []
    for _ in range(3):
        began = time.perf_counter()
        memory.apply(vector, free)
        backend.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times) / (pairs * count)


if __name__ == "__main__":
    sys.exit(main())
