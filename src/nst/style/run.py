"""Runs a StyleJob: every size through the twelve steps, records out, the picture at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nst.errors import Diverged
from nst.io.picture_transform import to_uint8
from nst.io.resample import fit_longest_side, resize
from nst.solvers import IterationRecord, StopReason
from nst.style.initial import initial_picture
from nst.style.job import StyleJob
from nst.style.painter import Painter
from nst.style.schedule import Stage
from nst.style.transfer import FeatureNet, StylePicture, Targets, build_painting_net

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Progress:
    """One finished iteration of a run, as displays, history files and pages want it."""

    stage: int
    """Which size, from 0."""
    size: tuple[int, int]
    """(height, width) of the picture at this size."""
    iteration: int
    """Iterations done at this size, from 1."""
    done: int
    """Iterations done at all sizes."""
    total: int
    """Iterations planned at all sizes."""
    record: IterationRecord
    elapsed_s: float


Observer = Callable[[Progress, "StyleRun"], None]


@dataclass(frozen=True)
class StyleResult:
    """What a run gives: the picture, every iteration, and how it ended."""

    pixels: Picture
    """RGB (H, W, 3) float32, 0 to 255, not rounded."""
    history: tuple[Progress, ...]
    stop_reason: str
    alpha: Picture | None = None
    """The content's transparency (h, w), 0 to 255, if it had any."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture as bytes, RGB (H, W, 3), rounded."""
        return to_uint8(self.pixels)


@dataclass
class StyleRun:
    """A job in progress. `observers` are called after every iteration; `stop` ends it cleanly."""

    job: StyleJob
    observers: list[Observer] = field(default_factory=list)
    painter: Painter | None = None
    stage: int = 0
    failure: Diverged | None = None
    _stopped: bool = False
    _history: list[Progress] = field(default_factory=list)

    def run(self) -> StyleResult:
        """Paints at every size; returns the picture of the last one.

        A run that diverges keeps the best picture: `failure` then holds the error.
        """
        self._began = time.monotonic()
        picture: Picture | None = None
        reason = StopReason.ITERATIONS
        for number, stage in enumerate(self.job.stages):
            self.stage = number
            picture, reason = self._paint(stage, picture)
            if self._stopped or self.failure:
                break
        assert picture is not None  # there is at least one stage
        alpha = self.job.content.alpha if self.job.content else None
        return StyleResult(np.clip(picture, 0, 255), tuple(self._history), reason.value, alpha)

    def stop(self) -> None:
        """Ends the run after the iteration in progress; may be called from a signal handler."""
        self._stopped = True
        if self.painter is not None:
            self.painter.request_stop()

    # ---- one size ------------------------------------------------------------------------------

    def _paint(self, stage: Stage, previous: Picture | None) -> tuple[Picture, StopReason]:
        shape = self._shape(stage)
        features = FeatureNet(self.job.net, self.job.objective, self.job.weights, self.job.backend)
        targets = self._capture(features, stage, shape)
        start = self._start(shape, previous)
        net = build_painting_net(
            features, targets, self.job.transform.encode(start), self.job.weights
        )
        del features  # its activations are not needed while painting
        self.painter = Painter(net, self.job.settings, stage.iterations, self.job.transform)
        if self._stopped:
            self.painter.request_stop()
        try:
            self.painter.solve(lambda record: self._observe(record, shape))
        except Diverged as error:
            self.failure = error
        reason = self.painter.solver.stop_reason or StopReason.ITERATIONS
        return self.painter.picture(), reason

    def _capture(self, features: FeatureNet, stage: Stage, shape: tuple[int, int]) -> Targets:
        """Steps 1 to 4 at this size."""
        job = self.job
        targets: Targets = {}
        if job.objective.style:
            targets.update(features.capture_style(self._style_pictures(stage, shape)))
        if job.content is not None and job.objective.content:
            content = job.transform.encode(resize(job.content.rgb, shape))
            targets.update(features.capture_content(content))
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

    def _shape(self, stage: Stage) -> tuple[int, int]:
        giver = self.job.content or self.job.styles[0].picture
        return fit_longest_side(giver.rgb.shape[:2], stage.size, enlarge=True)

    def _observe(self, record: IterationRecord, shape: tuple[int, int]) -> None:
        stages = self.job.stages
        before = sum(stage.iterations for stage in stages[: self.stage])
        progress = Progress(
            stage=self.stage,
            size=shape,
            iteration=record.iteration,
            done=before + record.iteration,
            total=sum(stage.iterations for stage in stages),
            record=record,
            elapsed_s=time.monotonic() - self._began,
        )
        self._history.append(progress)
        for observe in self.observers:
            observe(progress, self)


def run_job(job: StyleJob, *observers: Observer) -> StyleResult:
    """Runs a job to its end; raises Diverged if the loss stopped being finite."""
    run = StyleRun(job, list(observers))
    result = run.run()
    if run.failure is not None:
        raise run.failure
    return result
