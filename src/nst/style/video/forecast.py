"""Time and memory of a sequence of frames before it is painted."""

from __future__ import annotations

import time
from dataclasses import dataclass

from nst.style.forecast import Forecast, forecast
from nst.style.probe import probe
from nst.style.video.frame_jobs import FrameJobs


@dataclass(frozen=True)
class VideoForecast:
    """What the first frame takes, and each later one."""

    frames: int
    first: Forecast
    later: Forecast
    motion_s: float
    """Seconds for the motion of one later frame: flow, its check, warping apart."""

    @property
    def later_s(self) -> float:
        """Seconds of one later frame, in a process that is awake."""
        return self.later.seconds - self.later.wake_s + self.motion_s

    @property
    def seconds(self) -> float:
        """Seconds of all frames."""
        return self.first.seconds + (self.frames - 1) * self.later_s

    def check(self) -> None:
        """Raises UsageError, with the largest size that fits, if a frame does not fit into memory."""
        self.first.check()


def forecast_video(jobs: FrameJobs) -> VideoForecast:
    """Tries the job at a few sizes, and the motion between the first two frames at its own."""
    measured = probe(jobs.first)
    began = time.perf_counter()
    jobs.motion.between(jobs.frame(1), jobs.frame(0), jobs.shape)
    motion_s = (time.perf_counter() - began) * len(jobs.distances)
    return VideoForecast(
        len(jobs), forecast(jobs.first, measured), forecast(jobs.later, measured), motion_s
    )
