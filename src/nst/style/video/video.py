"""Painting a sequence of frames, one after the other, each from the one before.

A frame whose file carries the fingerprint of this very sequence is done and stays; a sequence that was
interrupted is continued by starting it again, the frame in progress from its snapshot. Model and weights are
read once, style statistics are computed once.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nst.errors import NstError
from nst.io.animation import write_animation
from nst.io.images import read_picture
from nst.io.output_lock import output_held
from nst.io.picture_output import write_picture
from nst.io.picture_transform import to_uint8
from nst.solvers import StopReason
from nst.style.batch import FINISHED, SKIPPED, STOPPED, carries, may_resume
from nst.style.job import StyleJob
from nst.style.run import Observer, Progress, StyleResult, StyleRun
from nst.style.run_snapshot import SnapshotFile, snapshot_path
from nst.style.statistics_store import MemoryStore
from nst.style.video.frame_jobs import FrameJobs


class FrameSaver(Protocol):
    """Writes a painted frame with its recipe, into whose results the fingerprint goes."""

    def __call__(
        self, job: StyleJob, result: StyleResult, output: Path, fingerprint: str
    ) -> None: ...


@dataclass(frozen=True)
class FrameOutcome:
    """What became of one frame."""

    index: int
    output: Path
    state: str
    """FINISHED, SKIPPED or STOPPED."""
    message: str = ""
    seconds: float = 0.0


@dataclass
class Video:
    """Paints the frames of `jobs`.

    Args:
        jobs: what each frame's run is.
        save: writes a painted frame.
        observers: called after every iteration, with `done` and `total` counted over all frames.
        store: style statistics, kept over all frames.
    """

    jobs: FrameJobs
    save: FrameSaver
    observers: Sequence[Observer] = ()
    store: MemoryStore = field(default_factory=MemoryStore)
    _run: StyleRun | None = None
    _stopped: bool = False

    def run(
        self, tell: Callable[[FrameOutcome], None] = lambda outcome: None
    ) -> list[FrameOutcome]:
        """Paints what is not painted yet; `tell` hears of each frame when it is over.

        Raises NstError for a frame that fails: the next ones need it. FileError if another run paints
        into the folder.
        """
        outcomes = []
        with output_held(self.jobs.folder / "frames"):
            self._began = time.monotonic()
            for index in range(len(self.jobs)):
                if self._stopped:
                    break
                outcomes.append(self._one(index))
                tell(outcomes[-1])
        return outcomes

    def stop(self) -> None:
        """Ends after the iteration in progress; its frame goes on from there the next time."""
        self._stopped = True
        if self._run is not None:
            self._run.stop()

    def animate(self, path: Path) -> None:
        """Writes all frames, which are painted, as one animation with the durations of the source."""
        durations = self.jobs.frames.durations_ms
        if durations is None:
            durations = (1000 / self.jobs.param.fps,) * len(self.jobs)
        write_animation(path, self._bytes, durations)

    def _bytes(self, index: int) -> NDArray[np.uint8]:
        return to_uint8(read_picture(self.jobs.output(index)).rgb)

    # ---- one frame -----------------------------------------------------------------------------

    def _one(self, index: int) -> FrameOutcome:
        began = time.monotonic()
        output, painted = self.jobs.output(index), self.jobs.painted(index)
        fingerprint = self.jobs.fingerprint(index)
        file = SnapshotFile(snapshot_path(output))
        if painted.is_file() and carries(output, fingerprint):
            file.discard()  # a kill may have come between picture and snapshot
            return FrameOutcome(index, output, SKIPPED)
        job = self.jobs.job(index)
        if job.settings.HasField("snapshot"):
            file = SnapshotFile(file.path, every=job.settings.snapshot, seconds=0)
        resume = file.path if may_resume(file.path, job) else None
        self._run = run = StyleRun(
            job, [self._observer(index)], snapshots=file, resume=resume, statistics=self.store
        )
        if self._stopped:
            return FrameOutcome(index, output, STOPPED, "not begun")
        result = run.run()
        if run.failure is not None:
            raise run.failure
        if result.stop_reason == StopReason.REQUESTED.value:
            after = f"after {len(result.history)} iterations"
            return FrameOutcome(index, output, STOPPED, file.problem or after)
        try:
            if painted != output and result.painted is not None:
                write_picture(painted, result.painted)
            self.save(job, result, output, fingerprint)
        except NstError:
            run.save()
            raise
        file.discard()
        said = "; ".join(str(recovery) for recovery in result.recoveries)
        return FrameOutcome(index, output, FINISHED, said, time.monotonic() - began)

    def _observer(self, index: int) -> Observer:
        """Hands iterations of one frame on as iterations of the whole."""
        counts = [self.jobs.iterations(i) for i in range(len(self.jobs))]
        before, total = sum(counts[:index]), sum(counts)

        def observe(progress: Progress, run: StyleRun) -> None:
            whole = dataclasses.replace(
                progress,
                done=before + progress.done,
                total=total,
                elapsed_s=time.monotonic() - self._began,
            )
            for hear in self.observers:
                hear(whole, run)

        return observe
