"""One StyleJob per frame: what it starts from, what it is held to, and how long it is painted.

The first frame is an ordinary run. Each later one starts at the last size from the frame before, warped to
it, with the content where something new comes in sight, and is held to earlier frames by temporal terms:
short-term to the one before, long-term to those `distances` back, where no nearer one shows the place
(Ruder et al. 2016, eq. 10). Earlier frames are read from their files, 8 bits per channel, so a sequence that
is continued after a kill sees what it would have seen without.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nst.backend import Backend
from nst.errors import ImageError, UsageError
from nst.io.frames import Frames
from nst.io.images import Picture, read_picture
from nst.io.recipe import FileRecord
from nst.io.resample import fit_longest_side, resize
from nst.proto import InitialImage, SolverParameter, VideoParameter
from nst.style.batch import run_fingerprint
from nst.style.colour import is_kept_after
from nst.style.forecast import fitted
from nst.style.job import StyleJob, load_job
from nst.style.schedule import Stage
from nst.style.temporal import TemporalTarget
from nst.style.video.flow import warp
from nst.style.video.motion import Frame, MotionSource

Array = NDArray[np.float32]


class FrameJobs:
    """The jobs of a sequence; frame i can be asked for once those before it are painted.

    Args:
        settings: of the whole, with a `video` block.
        folder: where the painted frames go, `frame_0001.png`, ...

    Raises NstError for settings that do not hold together, before anything is painted.
    """

    def __init__(
        self,
        settings: SolverParameter,
        backend: Backend,
        frames: Frames,
        motion: MotionSource,
        folder: Path,
    ) -> None:
        self.frames, self.motion, self.folder = frames, motion, folder
        self.param = settings.style_transfer_param.video
        self.distances = _checked(self.param)
        self._near: dict[int, Frame] = {}
        self._fingerprints: list[str] = []
        self._motion_keys = [
            [f"{d} {motion.key(i, i - d)}" for d in self._back(i)] for i in range(len(frames))
        ]
        picture = self.frame(0).picture
        job = load_job(settings, backend, content=picture.rgb)
        asked = dataclasses.replace(job, content=dataclasses.replace(picture, alpha=None))
        self._asked = asked.settings
        self.first = fitted(asked)
        self.later = dataclasses.replace(
            self.first,
            settings=_started_from_a_picture(self.first.settings),
            stages=(Stage(self.first.stages[-1].size, self.param.iterations),),
        )
        """What all frames after the first share."""
        self.shape = fit_longest_side(frames.shape, self.first.stages[-1].size, enlarge=True)
        """(height, width) of the painted frames."""

    def __len__(self) -> int:
        return len(self.frames)

    def job(self, index: int) -> StyleJob:
        """The job of frame `index`, counted from 0."""
        job = self._of_frame(index)
        if index == 0:
            return job
        terms = self._terms(index)
        start = self._start(self.frame(index), terms)
        held = terms if self.param.temporal_weight else ()
        return dataclasses.replace(job, start=Picture.from_array(start), temporal=held)

    def fingerprint(self, index: int) -> str:
        """One hash of everything that decides a painted frame, the frames before it included."""
        while len(self._fingerprints) <= index:
            number = len(self._fingerprints)
            # A history that was cut for want of memory does not make it another sequence.
            job = dataclasses.replace(self._of_frame(number), settings=self._asked)
            parts = [run_fingerprint(job)]
            if number:
                parts.append(self._fingerprints[-1])
                parts += self._motion_keys[number]
            self._fingerprints.append(hashlib.sha256("\n".join(parts).encode()).hexdigest())
        return self._fingerprints[index]

    def iterations(self, index: int) -> int:
        """How many iterations a frame gets, at all its sizes."""
        stages = self.later.stages if index else self.first.stages
        return sum(stage.iterations for stage in stages)

    def output(self, index: int) -> Path:
        """Where a painted frame goes. PNG: the next frame is painted from it."""
        digits = max(4, len(str(len(self))))
        return self.folder / f"frame_{index + 1:0{digits}d}.png"

    def painted(self, index: int) -> Path:
        """Where the painting itself is: elsewhere if the output has the content's colours."""
        output = self.output(index)
        keeps = is_kept_after(self.first.style_param.color)
        return output.parent / "painted" / output.name if keeps else output

    def frame(self, index: int) -> Frame:
        """A frame of the source; those near the last ones asked for are kept."""
        if index not in self._near:
            self._near[index] = Frame(index, self.frames.read(index))
            for other in [i for i in self._near if i < index - max(self.distances)]:
                del self._near[other]
        return self._near[index]

    # ---- pieces --------------------------------------------------------------------------------

    def _of_frame(self, index: int) -> StyleJob:
        picture = self.frame(index).picture
        shared = self.later if index else self.first
        files = {**shared.files, "content": FileRecord(picture.path.name, picture.sha256)}
        picture = dataclasses.replace(picture, alpha=None)  # the next frame needs opaque ones
        return dataclasses.replace(shared, content=picture, files=files, output=self.output(index))

    def _back(self, index: int) -> list[int]:
        return [distance for distance in self.distances if distance <= index]

    def _terms(self, index: int) -> tuple[TemporalTarget, ...]:
        """The nearest frame first; each place is left to the nearest one that shows it."""
        terms: list[TemporalTarget] = []
        free = np.ones(self.shape, np.float32)
        for distance in self._back(index):
            earlier = self.frame(index - distance)
            motion = self.motion.between(self.frame(index), earlier, self.shape)
            weights = np.minimum(motion.weights, free).astype(np.float32)
            free = np.maximum(free - motion.weights, 0).astype(np.float32)
            picture = warp(self._painting(index - distance), motion.backward)
            terms.append(TemporalTarget(distance, picture, weights))
        return tuple(terms)

    def _start(self, frame: Frame, terms: tuple[TemporalTarget, ...]) -> Array:
        """The warped frames where they can be believed, the content elsewhere."""
        start = np.zeros((*self.shape, 3), np.float32)
        known = np.zeros((*self.shape, 1), np.float32)
        for term in terms:
            start += term.warped * term.weights[..., None]
            known += term.weights[..., None]
        return start + (1 - known) * resize(frame.picture.rgb, self.shape)

    def _painting(self, index: int) -> Array:
        path = self.painted(index)
        picture = read_picture(path)
        if picture.rgb.shape[:2] != self.shape:
            raise ImageError(
                f"not a frame of this run (got {picture.rgb.shape[1]}x{picture.rgb.shape[0]}, expected "
                f"{self.shape[1]}x{self.shape[0]})",
                path=str(path),
            )
        return picture.rgb


def _checked(param: VideoParameter) -> tuple[int, ...]:
    """How many frames back the terms look, the nearest first; raises UsageError."""
    distances = list(param.distances) or [1]
    if min(distances) < 1 or len(set(distances)) < len(distances):
        raise UsageError(f"video: distances must be different and above 0 (got {distances})")
    if not 0 <= param.temporal_weight < float("inf"):
        raise UsageError(f"video: temporal_weight must be >= 0 (got {param.temporal_weight})")
    if param.iterations < 1:
        raise UsageError("video: iterations of later frames (got 0, expected at least 1)")
    if not 0 < param.fps <= 1000:
        raise UsageError(f"video: fps out of range (got {param.fps}, expected above 0, to 1000)")
    return tuple(sorted(distances))


def _started_from_a_picture(settings: SolverParameter) -> SolverParameter:
    later = SolverParameter()
    later.CopyFrom(settings)
    init = later.style_transfer_param.init
    init.Clear()
    setattr(init, "from", InitialImage.IMAGE)
    return later
