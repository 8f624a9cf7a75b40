"""Frames of a video: each painted from the one before, and held to it where nothing new comes in sight."""

from __future__ import annotations

from nst.style.video.frame_jobs import FrameJobs
from nst.style.video.motion import choose_motion
from nst.style.video.video import FrameOutcome, Video

__all__ = ["FrameJobs", "FrameOutcome", "Video", "choose_motion"]
