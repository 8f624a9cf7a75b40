"""Time and memory of a run before it begins, and what to do where the memory is too small for it.

A probe (`probe`) tries the job at the sizes it will paint, as far as that is cheap. What it measured is read
at every size from lines over the number of pixels:

    memory = fixed + per pixel * pixels + history        history = 2 pairs * 4 bytes * values of the picture
    time   = set-up + passes * (fixed + per pixel * pixels) + pairs remembered * values * time of a pair

Before the first size comes what wakes up once, after the last the delivery of the picture. Between two
passes, when less is held, a snapshot may be written, which copies the history.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass

from nst.backend import get_backend
from nst.core import TEST, RandomSource
from nst.errors import UsageError
from nst.net import Net
from nst.proto import SolverParameter, StyleTransferParameter
from nst.solvers import LBFGS, solver_class
from nst.solvers.lbfgs import correction_pairs
from nst.style import augment
from nst.style.device_memory import fitted_on_device
from nst.style.feature_net import image_blob
from nst.style.job import StyleJob
from nst.style.machine_memory import available_bytes, resident_bytes
from nst.style.painter import wanted_corrections
from nst.style.probe import PAIRS, Measurement, Probe, probe
from nst.style.run_snapshot import SNAPSHOT_SECONDS
from nst.style.schedule import SMALLEST_SIDE, Stage

log = logging.getLogger("nst.style")

FEWEST_PAIRS = 5
"""Below this L-BFGS is hardly better than steepest descent; a smaller size is the better choice."""

EVALUATIONS = 1.01
"""Passes per iteration of L-BFGS with line search, after those that the probe saw: seldom more than one."""

RESERVE = 0.1
"""Share of the free memory that is left alone."""

_VALUE_BYTES = 4


@dataclass(frozen=True)
class StageForecast:
    """One size of a run."""

    stage: Stage
    shape: tuple[int, int]
    """(height, width)."""
    seconds: float
    iteration_s: float
    evaluations: float
    """Passes that the iterations take."""
    peak_bytes: int
    """The most that the process will hold at this size, what it holds already included."""


@dataclass(frozen=True)
class Forecast:
    """What a run will take; `corrections` is None for rules without history."""

    stages: tuple[StageForecast, ...]
    held_bytes: int
    available_bytes: int | None
    """What may be taken on top of `held_bytes`; None where the system does not tell."""
    corrections: int | None
    wanted_corrections: int | None
    largest_size: int | None
    """The largest size that fits, with the fewest pairs; None if the run fits as it is."""
    wake_s: float = 0.0
    """What a process takes once: to wake up, and for the memory that it had not before."""
    delivery_s: float = 0.0
    """From the last iteration to the picture on the disk."""

    @property
    def seconds(self) -> float:
        """From the loaded job to the picture on the disk."""
        return self.wake_s + sum(stage.seconds for stage in self.stages) + self.delivery_s

    @property
    def peak_bytes(self) -> int:
        return max(stage.peak_bytes for stage in self.stages)

    @property
    def fits(self) -> bool:
        return self.largest_size is None

    def check(self) -> None:
        """Raises UsageError with the largest size that fits, if the run does not."""
        if self.fits or self.available_bytes is None:
            return
        raise UsageError(
            f"memory: the run would not fit (needs {_gb(self.peak_bytes - self.held_bytes)} more, "
            f"{_gb(self.available_bytes)} are free). The largest size that fits is {self.largest_size}"
        )


def forecast(job: StyleJob, measured: Probe | None = None, free: int | None = None) -> Forecast:
    """What the job will take here; `measured` and `free` replace the probe and the memory that is free.

    The history of L-BFGS is cut, down to FEWEST_PAIRS, if that makes the run fit.
    """
    measured = measured or probe(job)
    free = available_bytes() if free is None else free
    model = _Model(job, measured, resident_bytes())
    wanted = model.wanted_pairs
    pairs = model.pairs_that_fit(free) if wanted else 0
    largest = max(job.stages, key=lambda stage: stage.size)
    fits = free is None or model.growth(largest, pairs) <= free * (1 - RESERVE)
    stages = model.stages(pairs)
    growth = max(stage.peak_bytes for stage in stages) - model.held
    return Forecast(
        stages=stages,
        held_bytes=model.held,
        available_bytes=free,
        corrections=pairs if wanted else None,
        wanted_corrections=wanted or None,
        largest_size=None if fits or free is None else model.largest_size(largest, free),
        wake_s=measured.wake_s + measured.byte_s * growth,
        delivery_s=model.delivery_s(job.stages[-1]),
    )


def fitted(job: StyleJob) -> StyleJob:
    """The job, made to fit: with a shorter history where memory is short. The look at it costs no time.

    Only where a rough count comes near to what is free is the job probed. Raises UsageError, with the
    largest size that fits, if no history makes it fit.
    """
    if job.backend.free_bytes() is not None:
        return fitted_on_device(job)
    free = available_bytes()
    if free is None or rough_bytes(job) < free / 3:
        return job
    plan = forecast(job, free=free)
    plan.check()
    return with_history(job, plan)


def rough_bytes(job: StyleJob) -> int:
    """Values and gradients of every blob at the largest size, and the history; nothing is measured."""
    largest = max(job.stages, key=lambda stage: stage.size)
    shape = job.shape_at(largest.size)
    extraction = augment.for_extraction(job.net, job.objective)
    net = Net(extraction, backend=get_backend("numpy"), phase=TEST, rng=RandomSource(0))
    image = net.blobs[image_blob(extraction)]
    image.reshape(1, image.shape[1], *shape)
    net.reshape()
    blobs = 2 * sum(blob.count for blob in net.blobs.values())
    wanted = min(wanted_corrections(job.settings), largest.iterations)
    pairs = wanted if _remembers(job) else 1
    return _VALUE_BYTES * (blobs + 2 * pairs * image.count)


def with_history(job: StyleJob, plan: Forecast) -> StyleJob:
    """The job with the history that the forecast chose; a change is logged and noted."""
    if plan.corrections == plan.wanted_corrections or plan.corrections is None:
        return job
    settings = SolverParameter()
    settings.CopyFrom(job.settings)
    settings.lbfgs_corrections = plan.corrections
    note = (
        f"memory is short: L-BFGS remembers {plan.corrections} pairs instead of "
        f"{plan.wanted_corrections}"
    )
    log.warning(note)
    return dataclasses.replace(job, settings=settings, notes=(*job.notes, note))


class _Model:
    """The lines through the measurements of one job."""

    def __init__(self, job: StyleJob, measured: Probe, held: int) -> None:
        self.job, self.held, self._probe = job, held, measured
        self._remembers = _remembers(job)
        searches = job.style_param.line_search == StyleTransferParameter.STRONG_WOLFE
        self._passes = EVALUATIONS if self._remembers and searches else 1.0

    @property
    def wanted_pairs(self) -> int:
        """Pairs that the settings ask for; 0 for a rule without history."""
        return self._pairs(wanted_corrections(self.job.settings))

    def growth(self, stage: Stage, pairs: int, *, snapshots: bool = True) -> int:
        """Bytes at this size on top of what is held; with or without a snapshot between two passes."""
        pixels = self._pixels(stage.size)
        probed = self._history_bytes(pixels, PAIRS) if self._remembers else 0.0
        history = self._history_bytes(pixels, min(pairs, stage.iterations))
        painting = self._at(pixels, lambda m: m.peak_bytes) - probed + history
        saving = self._at(pixels, lambda m: m.steady_bytes) - probed + 2 * history
        return round(max(painting, saving) if snapshots else painting)

    def stages(self, pairs: int) -> tuple[StageForecast, ...]:
        """Time and memory of every size."""
        seconds = [self._seconds(stage, pairs) for stage in self.job.stages]
        snapshots = self._saves(sum(setup + running for setup, running in seconds))
        return tuple(
            StageForecast(
                stage,
                self.job.shape_at(stage.size),
                setup + running,
                running / stage.iterations,
                self._evaluations(stage),
                self.held + self.growth(stage, pairs, snapshots=snapshots),
            )
            for stage, (setup, running) in zip(self.job.stages, seconds, strict=True)
        )

    def delivery_s(self, stage: Stage) -> float:
        """Seconds from a painting of this size to its file."""
        return self._at(self._pixels(stage.size), lambda m: m.delivery_s)

    def _seconds(self, stage: Stage, pairs: int) -> tuple[float, float]:
        """Seconds of the set-up and of the iterations of one size."""
        pixels = self._pixels(stage.size)
        once = self._at(pixels, lambda m: m.evaluation_s)
        remembered = sum(max(0, min(i, pairs) - PAIRS) for i in range(stage.iterations))
        running = self._evaluations(stage) * once + remembered * 3 * pixels * self._probe.pair_s
        every = self.job.style_param.save_every
        if every:
            running += stage.iterations // every * self.delivery_s(stage)
        return self._at(pixels, lambda m: m.setup_s), running

    def _evaluations(self, stage: Stage) -> float:
        """Passes of one size: what the probe needed beyond one each, and then as many as is usual."""
        nearest = min(self._probe.measurements, key=lambda m: abs(m.size - stage.size))
        further = max(0, stage.iterations - nearest.iterations)
        extra = nearest.evaluations - nearest.iterations
        return stage.iterations + extra + further * (self._passes - 1)

    def _saves(self, seconds: float) -> bool:
        """Whether a run that takes so long writes snapshots on its way."""
        if not self.job.settings.HasField("snapshot"):
            return seconds > SNAPSHOT_SECONDS
        every = self.job.settings.snapshot
        return 0 < every <= sum(stage.iterations for stage in self.job.stages)

    def pairs_that_fit(self, free: int | None) -> int:
        """The wanted history, or as much of it as fits; at least FEWEST_PAIRS."""
        wanted = self.wanted_pairs
        if free is None:
            return wanted
        largest = max(self.job.stages, key=lambda stage: stage.size)
        pairs = wanted
        while pairs > min(FEWEST_PAIRS, wanted) and self.growth(largest, pairs) > free * (
            1 - RESERVE
        ):
            pairs -= 1
        return pairs

    def largest_size(self, stage: Stage, free: int) -> int:
        """The largest size with the fewest pairs that fits; the smallest there is if none does."""
        low, high = SMALLEST_SIDE, stage.size
        pairs = min(FEWEST_PAIRS, self.wanted_pairs)
        while low < high:
            middle = (low + high + 1) // 2
            if self.growth(Stage(middle, stage.iterations), pairs) <= free * (1 - RESERVE):
                low = middle
            else:
                high = middle - 1
        return low

    def _pairs(self, wanted: int) -> int:
        if not self._remembers:
            return 0
        settings = SolverParameter()
        settings.lbfgs_corrections = wanted
        settings.max_iter = max(stage.iterations for stage in self.job.stages)
        return correction_pairs(settings)

    def _history_bytes(self, pixels: float, pairs: int) -> float:
        return 2.0 * pairs * 3 * pixels * _VALUE_BYTES

    def _pixels(self, size: int) -> int:
        height, width = self.job.shape_at(size)
        return height * width

    def _at(self, pixels: int, value: Callable[[Measurement], float]) -> float:
        return self._probe.at(pixels, value)


def _remembers(job: StyleJob) -> bool:
    """Whether the rule is an L-BFGS, which is what paints when the settings name none."""
    named = job.settings.HasField("type")
    return not named or solver_class(job.settings.type) is LBFGS


def _gb(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
