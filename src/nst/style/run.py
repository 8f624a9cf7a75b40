"""Runs a StyleJob: every size through the twelve steps, records out, the picture at the end."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os import fspath

import numpy as np
from numpy.typing import NDArray

from nst.errors import Diverged
from nst.io.files import FilePath
from nst.io.resample import resize
from nst.solvers import IterationRecord, StopReason
from nst.style.colour import is_kept_after, keep_colours
from nst.style.gradient_shares import Shares, gradient_shares, report_shares
from nst.style.identity import identity_of
from nst.style.job import StyleJob
from nst.style.painter import Painter
from nst.style.preparation import capture_styles, prepared_net, start_picture
from nst.style.progress import Progress as Progress
from nst.style.progress import Recovery as Recovery
from nst.style.progress import StyleResult as StyleResult
from nst.style.recovery import DivergenceGuard
from nst.style.run_snapshot import RunSnapshot, SnapshotFile, read_run_snapshot
from nst.style.schedule import Stage
from nst.style.statistics_store import StatisticsStore
from nst.style.transfer import FeatureNet

Picture = NDArray[np.float32]

Observer = Callable[[Progress, "StyleRun"], None]


@dataclass
class StyleRun:
    """A job in progress. `observers` are called after every iteration; `stop` ends it cleanly.

    With `snapshots` the run is saved now and then, when it is stopped and before it fails; with `resume`,
    a snapshot, it goes on from there and ends with the picture of a run that was never interrupted, bit for
    bit. A run that diverges goes back to its last good picture a few times (`recovery`). Style statistics
    that `statistics` has are not computed again.
    """

    job: StyleJob
    observers: list[Observer] = field(default_factory=list)
    snapshots: SnapshotFile | None = None
    resume: FilePath | None = None
    statistics: StatisticsStore | None = None
    painter: Painter | None = None
    stage: int = 0
    failure: Diverged | None = None
    _watched: DivergenceGuard | None = None
    _stopped: bool = False
    _history: list[Progress] = field(default_factory=list)
    _recoveries: list[Recovery] = field(default_factory=list)
    _shares: list[Shares] = field(default_factory=list)
    _moments: Sequence[Picture] = ()

    def run(self) -> StyleResult:
        """Paints at every size; returns the picture of the last one.

        A run that diverges for good keeps the best picture: `failure` then holds the error. Raises
        SnapshotError or UsageError if the snapshot to resume is damaged or of another run.
        """
        self._identity = identity_of(self.job) if self.snapshots or self.resume else {}
        resumed = self._resumed()
        self._began = time.monotonic() - (resumed.elapsed_s if resumed else 0.0)
        picture: Picture | None = None
        reason = StopReason.ITERATIONS
        for number, stage in enumerate(self.job.stages):
            if resumed is not None and number < resumed.stage:
                continue
            self.stage = number
            picture, reason = self._paint(stage, picture, resumed)
            resumed = None
            if self._stopped or self.failure:
                break
        assert picture is not None  # there is at least one stage
        alpha = self.job.content.alpha if self.job.content else None
        return StyleResult(
            self._finished(picture),
            self.history,
            reason.value,
            alpha,
            tuple(self._recoveries),
            tuple(self._shares),
            self._joined(picture),
        )

    @property
    def history(self) -> tuple[Progress, ...]:
        """All iterations so far that led to the present picture."""
        return tuple(self._history)

    def picture(self) -> Picture | None:
        """The picture as it is now, as the result would be delivered; None before the first iteration."""
        return None if self.painter is None else self._finished(self.painter.picture())

    def stop(self) -> None:
        """Ends the run after the iteration in progress; may be called from a signal handler."""
        self._stopped = True
        if self.painter is not None:
            self.painter.request_stop()

    def save(self) -> None:
        """Writes a snapshot of where the run stands at the end of a size, if it has a file for them.

        For whoever cannot write the result: resuming from there gives it again.
        """
        if self.snapshots is not None and self.painter is not None and self._watched is not None:
            self.snapshots.write(self._snapshot(self.painter, self._watched))

    def compute_statistics(self) -> None:
        """Puts the style statistics of every size into `statistics`, and paints nothing."""
        job = self.job
        features = FeatureNet(job.net, job.objective, job.weights, job.backend)
        for stage in job.stages:
            capture_styles(job, features, stage, self.statistics)

    def _finished(self, picture: Picture) -> Picture:
        """What the net painted as what is delivered: in the content's colours if `color` keeps them."""
        how = self.job.style_param.color
        if self.job.content is not None and is_kept_after(how):
            picture = keep_colours(picture, resize(self.job.content.rgb, picture.shape[:2]), how)
        return self._joined(picture)

    def _joined(self, picture: Picture) -> Picture:
        """A painted picture, whole: with what is kept of the content."""
        if self.job.regions.kept is not None and self.job.content is not None:
            content = resize(self.job.content.rgb, picture.shape[:2])
            picture = self.job.regions.at(picture.shape[:2]).join(picture, content)
        return np.clip(picture, 0, 255)

    # ---- one size ------------------------------------------------------------------------------

    def _paint(
        self, stage: Stage, previous: Picture | None, resumed: RunSnapshot | None
    ) -> tuple[Picture, StopReason]:
        self.painter = self._watched = None
        gc.collect()  # the net of the size before is not to be held beside the new one
        shape = self._shape(stage)
        start = start_picture(self.job, shape, previous)
        net = prepared_net(self.job, stage, start, self.statistics)
        before = self._iterations_before if self.job.style_param.carry_moments else 0
        self.painter = Painter(net, self.job.settings, stage.iterations, self.job.transform, before)
        self.painter.take_moments(self._moments)
        guard = self._guard(self.painter, resumed)
        self._solve(self.painter, guard, shape)
        self._watched = guard
        if self._stopped or self.failure:
            self.save()
        if self.job.style_param.report_gradients and not self.failure:
            self._shares.append(gradient_shares(net))
            report_shares(self._shares[-1], shape)
        reason = self.painter.solver.stop_reason or StopReason.ITERATIONS
        if self.job.style_param.carry_moments:
            self._moments = self.painter.moments()
        finished = self.painter.picture() if self.failure else self.painter.result()
        return finished, reason

    def _solve(self, painter: Painter, guard: DivergenceGuard, shape: tuple[int, int]) -> None:
        """Runs the solver to the end of this size, back and on again where it diverges."""

        def observe(record: IterationRecord) -> None:
            guard.watch(record)
            progress = self._observe(record, shape)
            if self.snapshots is not None and self.snapshots.is_due(progress.done):
                self.snapshots.write(self._snapshot(painter, guard))

        while True:
            if self._stopped:
                painter.request_stop()
            try:
                return painter.solve(observe)
            except Diverged as error:
                if not guard.recover(error):
                    self.failure = error
                    return None
                self._recoveries = list(guard.recoveries)
                self._forget_after(guard.recoveries[-1].back_to)

    # ---- snapshots and recoveries --------------------------------------------------------------

    def _resumed(self) -> RunSnapshot | None:
        if self.resume is None:
            return None
        snapshot = read_run_snapshot(self.resume)
        snapshot.check(self._identity, self.job.stages, fspath(self.resume))
        self._history = list(snapshot.history)
        self._recoveries = list(snapshot.recoveries)
        return snapshot

    def _guard(self, painter: Painter, resumed: RunSnapshot | None) -> DivergenceGuard:
        """The guard of this size; a snapshot's state goes into the painter."""
        factor = resumed.rate_factor if resumed is not None else self._rate_factor
        guard = DivergenceGuard(painter, self.stage, factor, self._recoveries)
        if resumed is not None:
            painter.put(resumed.picture, resumed.solver)
            painter.solver.evaluations = resumed.evaluations
            if (
                resumed.stages[self.stage] == self.job.stages[self.stage]
            ):  # else others are the last
                painter.average.total = resumed.average
                painter.average.count = resumed.average_count
            guard.good = resumed.good
        if resumed is None or resumed.is_good_pending:
            guard.consider()
        return guard

    def _snapshot(self, painter: Painter, guard: DivergenceGuard) -> RunSnapshot:
        painter.solver.size_index = self.stage
        return RunSnapshot(
            solver=painter.solver.state(),
            picture=painter.pixels(),
            evaluations=painter.solver.evaluations,
            rate_factor=guard.rate_factor,
            identity=self._identity,
            stages=self.job.stages,
            history=self.history,
            recoveries=tuple(guard.recoveries),
            good=guard.good,
            is_good_pending=guard.is_pending,
            average=painter.average.total,
            average_count=painter.average.count,
        )

    @property
    def _rate_factor(self) -> float:
        return self._recoveries[-1].rate_factor if self._recoveries else 1.0

    def _forget_after(self, iteration: int) -> None:
        """Drops the records of the iterations at this size that a recovery undid."""
        self._history = [
            progress
            for progress in self._history
            if progress.stage < self.stage or progress.iteration <= iteration
        ]

    # ---- what the observers hear -------------------------------------------------------------------

    @property
    def _iterations_before(self) -> int:
        """All iterations at smaller sizes."""
        return sum(stage.iterations for stage in self.job.stages[: self.stage])

    def _shape(self, stage: Stage) -> tuple[int, int]:
        return self.job.shape_at(stage.size)

    def _observe(self, record: IterationRecord, shape: tuple[int, int]) -> Progress:
        progress = Progress(
            stage=self.stage,
            size=shape,
            iteration=record.iteration,
            done=self._iterations_before + record.iteration,
            total=sum(stage.iterations for stage in self.job.stages),
            record=record,
            elapsed_s=time.monotonic() - self._began,
        )
        self._history.append(progress)
        for observe in self.observers:
            observe(progress, self)
        return progress


def run_job(job: StyleJob, *observers: Observer) -> StyleResult:
    """Runs a job to its end; raises Diverged if the loss stopped being finite."""
    run = StyleRun(job, list(observers))
    result = run.run()
    if run.failure is not None:
        raise run.failure
    return result
