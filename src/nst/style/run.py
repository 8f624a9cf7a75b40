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
from nst.io.resample import fit_longest_side, resize
from nst.solvers import IterationRecord, StopReason
from nst.style.colour import is_kept_after, keep_colours
from nst.style.gradient_shares import Shares, gradient_shares, report_shares
from nst.style.identity import identity_of
from nst.style.initial import initial_picture
from nst.style.job import StyleJob
from nst.style.painter import Painter
from nst.style.progress import Progress as Progress
from nst.style.progress import Recovery as Recovery
from nst.style.progress import StyleResult as StyleResult
from nst.style.recovery import DivergenceGuard
from nst.style.run_snapshot import RunSnapshot, SnapshotFile, read_run_snapshot
from nst.style.schedule import Stage
from nst.style.statistics_store import StatisticsStore, style_targets
from nst.style.temporal import temporal_targets
from nst.style.transfer import FeatureNet, StylePicture, Targets, build_painting_net

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
            np.clip(picture, 0, 255),
        )

    @property
    def history(self) -> tuple[Progress, ...]:
        """All iterations so far that led to the present picture."""
        return tuple(self._history)

    def stop(self) -> None:
        """Ends the run after the iteration in progress; may be called from a signal handler."""
        self._stopped = True
        if self.painter is not None:
            self.painter.request_stop()

    def compute_statistics(self) -> None:
        """Puts the style statistics of every size into `statistics`, and paints nothing."""
        job = self.job
        features = FeatureNet(job.net, job.objective, job.weights, job.backend)
        for stage in job.stages:
            pictures = self._style_pictures(stage, self._shape(stage))
            style_targets(features, pictures, job, self.statistics)

    def _finished(self, picture: Picture) -> Picture:
        """What the net painted as what is delivered: in the content's colours if `color` keeps them."""
        how = self.job.style_param.color
        if self.job.content is None or not is_kept_after(how):
            return np.clip(picture, 0, 255)
        return keep_colours(picture, resize(self.job.content.rgb, picture.shape[:2]), how)

    # ---- one size ------------------------------------------------------------------------------

    def _paint(
        self, stage: Stage, previous: Picture | None, resumed: RunSnapshot | None
    ) -> tuple[Picture, StopReason]:
        self.painter = None
        gc.collect()  # the net of the size before is not to be held beside the new one
        shape = self._shape(stage)
        features = FeatureNet(self.job.net, self.job.objective, self.job.weights, self.job.backend)
        targets = self._capture(features, stage, shape)
        start = self._start(shape, previous)
        net = build_painting_net(
            features, targets, self.job.transform.encode(start), self.job.weights
        )
        del features  # its activations are not needed while painting
        before = self._iterations_before if self.job.style_param.carry_moments else 0
        self.painter = Painter(net, self.job.settings, stage.iterations, self.job.transform, before)
        self.painter.take_moments(self._moments)
        guard = self._guard(self.painter, resumed)
        self._solve(self.painter, guard, shape)
        if self.snapshots is not None and (self._stopped or self.failure):
            self.snapshots.write(self._snapshot(self.painter, guard))
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

    # ---- pictures --------------------------------------------------------------------------------

    def _capture(self, features: FeatureNet, stage: Stage, shape: tuple[int, int]) -> Targets:
        """Steps 1 to 4 at this size."""
        job = self.job
        targets: Targets = {}
        if job.objective.style:
            pictures = self._style_pictures(stage, shape)
            targets.update(style_targets(features, pictures, job, self.statistics))
        if job.content is not None and job.objective.content:
            content = job.transform.encode(resize(job.content.rgb, shape))
            targets.update(features.capture_content(content))
        targets.update(temporal_targets(job.temporal, job.transform, shape))
        return targets

    def _style_pictures(self, stage: Stage, shape: tuple[int, int]) -> list[StylePicture]:
        """Styles keep their aspect and are never enlarged, unless they are to be stretched."""
        pictures = []
        for style in self.job.styles:
            rgb = style.picture.rgb
            size = fit_longest_side(rgb.shape[:2], max(1, round(stage.size * style.scale)))
            small = resize(rgb, shape if style.stretch else size)
            pixels = self.job.transform.encode(small)
            pictures.append(StylePicture(pixels, style.weight, style.tap_weights or None))
        return pictures

    def _start(self, shape: tuple[int, int], previous: Picture | None) -> Picture:
        if previous is not None:
            return resize(previous, shape, method="bicubic", limits=None)
        job = self.job
        return initial_picture(
            job.style_param.init,
            shape,
            content=job.content.rgb if job.content else None,
            style=job.styles[0].picture.rgb if job.styles else None,
            given=job.start.rgb if job.start else None,
            transform=job.transform,
            seed=job.seed,
        )

    @property
    def _iterations_before(self) -> int:
        """All iterations at smaller sizes."""
        return sum(stage.iterations for stage in self.job.stages[: self.stage])

    def _shape(self, stage: Stage) -> tuple[int, int]:
        giver = self.job.content or self.job.styles[0].picture
        return fit_longest_side(giver.rgb.shape[:2], stage.size, enlarge=True)

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
