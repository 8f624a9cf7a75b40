"""The process that tries a job: `python -m nst.style.probe_process`, a pickled request on stdin, JSON out.

A process of its own, because the peak of memory is a property of a process, because a run begins with a cold
one, and so that nothing of it remains. It allocates as the run does and from small sizes to large ones as
the run does, so that what the allocator keeps is counted too.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import json
import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nst.backend import get_backend
from nst.errors import NstError
from nst.io.picture_output import write_picture
from nst.proto import SolverParameter
from nst.solvers.curvature import CurvaturePairs
from nst.style.job import StyleJob
from nst.style.machine_memory import available_bytes, forget_peak, peak_bytes, resident_bytes
from nst.style.probe import PAIRS, Measurement, line_through
from nst.style.run import Progress, StyleRun
from nst.style.schedule import SMALLEST_SIDE, Stage
from nst.style.settings import at_precision

FIRST_SIZE = 192
"""The first size that is tried, unless the job begins with a smaller one."""
LEAST_STEP, MOST_STEP = 1.4, 2.0
"""How many times larger the next size is, at least and at most: lines need a base, and costs are guessed."""
FRESH_ITERATIONS, ITERATIONS, MOST_ITERATIONS = 2, 4, 40
"""At one size: on fresh memory, then for the times at least, and at most."""
ENOUGH_SECONDS = 0.8
"""A size is timed until its iterations took so long together."""

BUDGET_SECONDS, BUDGET_SHARE = 8.0, 0.05
"""What all sizes may take: so long, or so much of the run if that is longer. Two sizes are tried anyway."""
MEMORY_SHARE = 0.5
"""How much of the free memory a probe may take."""


def main() -> int:
    """Measures, prints; returns the exit code."""
    request = pickle.load(sys.stdin.buffer)  # from our own parent only
    backend = get_backend(request["backend"], threads=request["threads"])
    job: StyleJob = request["job"]
    job = dataclasses.replace(job, backend=at_precision(backend, job.style_param))
    try:
        found = _measure_all(job)
    except NstError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


def _measure_all(job: StyleJob) -> dict[str, Any]:
    """Every size twice: what only its first set-up takes is the price of fresh memory.

    A run pays that once, for the most that it ever holds, not at every size.
    """
    base, free = resident_bytes(), available_bytes()
    wake_s = _seconds_of(lambda: _measure(job, 2 * SMALLEST_SIDE, base, FRESH_ITERATIONS))
    wake_s -= _seconds_of(lambda: _measure(job, 2 * SMALLEST_SIDE, base, FRESH_ITERATIONS))
    began, touching_s = time.perf_counter(), 0.0
    done: list[Measurement] = []
    while (size := next_size(job, done, time.perf_counter() - began, free)) is not None:
        fresh = _measure(job, size, base, FRESH_ITERATIONS)
        again = _measure(job, size, base, ITERATIONS, ENOUGH_SECONDS)
        touching_s += max(0.0, fresh.setup_s - again.setup_s)
        memory = {"peak_bytes": fresh.peak_bytes, "steady_bytes": fresh.steady_bytes}
        done.append(dataclasses.replace(again, **memory))
    return {
        "measurements": [dataclasses.asdict(measurement) for measurement in done],
        "pair_s": _pair_seconds(job, done[-1].pixels * 3),
        "wake_s": max(0.0, wake_s),
        "byte_s": touching_s / max(1, done[-1].peak_bytes),
    }


def next_size(
    job: StyleJob, done: Sequence[Measurement], spent_s: float, free: int | None
) -> int | None:
    """The size to try next: the largest of the job or as near to it as is affordable, in steps.

    None when the largest is done, or when no size that is clearly larger than the last is affordable.
    """
    target = max(stage.size for stage in job.stages)
    if not done:
        smallest = min(stage.size for stage in job.stages)
        return min(smallest, FIRST_SIZE)
    low, high = done[-1].size, min(target, round(MOST_STEP * done[-1].size))
    if low >= target:
        return None
    budget = max(BUDGET_SECONDS, BUDGET_SHARE * _run_seconds(job, done)) - spent_s
    least = min(target, round(LEAST_STEP * low))
    while low < high:
        middle = (low + high + 1) // 2
        seconds, growth = _cost(job, done, middle)
        fits = seconds <= budget and (free is None or growth <= MEMORY_SHARE * free)
        low, high = (middle, high) if fits else (low, middle - 1)
    if len(done) == 1:
        return max(low, least)
    return low if low >= least else None


def _cost(job: StyleJob, done: Sequence[Measurement], size: int) -> tuple[float, float]:
    """Seconds and bytes that trying a size will take, judged by those that are done."""
    height, width = job.shape_at(size)

    def at(value: Callable[[Measurement], float]) -> float:
        return line_through([(m.pixels, value(m)) for m in done], height * width)

    extra, once = done[-1].evaluations - done[-1].iterations, at(lambda m: m.evaluation_s)
    around = at(lambda m: m.setup_s) + at(lambda m: m.delivery_s)
    timed = max(ENOUGH_SECONDS, (ITERATIONS + extra) * once)
    return 2 * around + (FRESH_ITERATIONS + extra) * once + timed, at(lambda m: m.peak_bytes)


def _run_seconds(job: StyleJob, done: Sequence[Measurement]) -> float:
    """About what the passes of the whole run will take."""
    points = [(m.pixels, m.evaluation_s) for m in done]
    shapes = [job.shape_at(stage.size) for stage in job.stages]
    return sum(
        stage.iterations * line_through(points, height * width)
        for stage, (height, width) in zip(job.stages, shapes, strict=True)
    )


def _measure(
    job: StyleJob, size: int, base: int, iterations: int, seconds: float = 0.0
) -> Measurement:
    """Runs a job at one size for so many iterations, and on until they took that long."""
    gc.collect()
    settings = SolverParameter()
    settings.CopyFrom(job.settings)
    settings.lbfgs_corrections = PAIRS
    seen: list[Progress] = []
    steady: list[int] = []

    def observe(progress: Progress, run: StyleRun) -> None:
        seen.append(progress)
        steady.append(resident_bytes() - base)
        if len(seen) >= iterations and progress.elapsed_s - seen[0].elapsed_s >= seconds:
            run.stop()

    stages = (Stage(max(size, SMALLEST_SIDE), MOST_ITERATIONS),)
    run = StyleRun(dataclasses.replace(job, settings=settings, stages=stages), [observe])
    forget_peak()
    began = time.monotonic()
    result = run.run()
    if run.failure is not None:
        raise run.failure
    first, last = seen[0], seen[-1]
    peak = peak_bytes() - base
    suffix = job.output.suffix if job.output else ".png"
    with tempfile.TemporaryDirectory() as folder:
        write_picture(Path(folder, "picture" + suffix), result.pixels, result.alpha)
    delivery_s = time.monotonic() - began - last.elapsed_s
    each = _pass_seconds(seen)
    return Measurement(
        size=size,
        pixels=last.size[0] * last.size[1],
        iterations=len(seen),
        evaluations=last.record.evaluations,
        setup_s=max(0.0, first.elapsed_s - each * first.record.evaluations),
        evaluation_s=each,
        delivery_s=delivery_s,
        peak_bytes=max(0, peak),
        steady_bytes=max(0, *steady),
    )


def _pass_seconds(seen: Sequence[Progress]) -> float:
    """The median over the iterations: a disturbance of a second would be half of a mean."""
    if len(seen) == 1:
        return seen[0].elapsed_s / max(1, seen[0].record.evaluations)
    return statistics.median(
        (after.elapsed_s - before.elapsed_s)
        / max(1, after.record.evaluations - before.record.evaluations)
        for before, after in itertools.pairwise(seen)
    )


def _seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


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
