"""A job tried at a few sizes in a process of its own: what time and memory really are here and now.

The process (`probe_process`) does what the run will do, for a few iterations at the smallest size and at the
largest that is affordable. Everything that is measured grows with the number of pixels, nearly in proportion,
so what lies between two sizes, or beyond them, is read from the line through the two nearest.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nst.errors import SolverError
from nst.style.job import StyleJob

PAIRS = 2
"""lbfgs_corrections while probing: the cost of a pair is measured apart."""


@dataclass(frozen=True)
class Measurement:
    """What a few iterations at one size took."""

    size: int
    pixels: int
    iterations: int
    evaluations: int
    """Passes that the iterations needed: L-BFGS makes one before its first, and more where it searches."""
    setup_s: float
    """From the start picture to the net that paints, statistics of the styles and all."""
    evaluation_s: float
    """Of a pass and what goes with it: the step, the checks, the records."""
    delivery_s: float
    """From the last iteration to the picture on the disk."""
    peak_bytes: int
    """Growth of the process over what the loaded job took, at its highest."""
    steady_bytes: int
    """The same between two iterations, when snapshots are written."""


@dataclass(frozen=True)
class Probe:
    """All measurements of a job, the smallest size first."""

    measurements: tuple[Measurement, ...]
    pair_s: float
    """Seconds that one remembered pair of L-BFGS takes per value of the picture and iteration."""
    wake_s: float = 0.0
    """What the first size of a process takes longer: modules, threads and libraries wake up."""
    byte_s: float = 0.0
    """Seconds that a byte takes when the process touches it for the first time."""

    def at(self, pixels: float, value: Callable[[Measurement], float]) -> float:
        """A measured value at another number of pixels, on the line through the two nearest sizes."""
        return line_through([(m.pixels, value(m)) for m in self.measurements], pixels)


def line_through(points: Sequence[tuple[float, float]], at: float) -> float:
    """The value at `at` on the line through the two points around or next to it, which rise in x.

    Through the origin if there is one point only; never falling, never below zero.
    """
    if len(points) == 1:
        ((x, y),) = points
        return y * at / x
    right = next((k for k, (x, _) in enumerate(points) if k and x >= at), len(points) - 1)
    (x0, y0), (x1, y1) = points[right - 1], points[right]
    slope = max(0.0, (y1 - y0) / (x1 - x0))
    return max(0.0, y1 + slope * (at - x1))


def probe(job: StyleJob) -> Probe:
    """Tries the job in another process; raises SolverError if that fails."""
    request = {
        "job": dataclasses.replace(job, backend=None),  # type: ignore[arg-type]
        "backend": job.backend.name,
        "threads": getattr(getattr(job.backend, "engine", None), "threads", None),
    }
    done = subprocess.run(
        [sys.executable, "-m", "nst.style.probe_process"],
        input=pickle.dumps(request),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise SolverError(f"the job could not be tried at a small size ({lines[-1]})")
    found = json.loads(done.stdout.splitlines()[-1])
    measurements = tuple(Measurement(**values) for values in found.pop("measurements"))
    return Probe(measurements, **found)
