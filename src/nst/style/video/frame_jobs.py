"""One StyleJob per frame: what it starts from, what it is held to, and how long it is painted.

The first frame is an ordinary run. Each later one

- starts from the frame before, warped to it; where something new comes in sight, from the content in the
  painting's colours,
- is held to earlier frames by temporal terms: short-term to the one before, long-term to those `distances`
  back, where no nearer one shows the place (Ruder et al. 2016, eq. 10),
- holds a place the more firmly the longer it has been in sight: what came in with the last frame is half
  painted only,
- goes through the sizes of the first, so that what is new is painted from large forms to small ones; what is
  held is as sharp at every size as the frame before left it.

Earlier frames are read from their files, 8 bits per channel, so a sequence that is continued after a kill
sees what it would have seen without.
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
from nst.style.video.motion import Frame, Motion, MotionSource

Array = NDArray[np.float32]

FEWEST_KNOWN = 0.1
"""Share of the frame that must be known for the painting's colours to be taken from it."""

SETTLED_AFTER = 4
"""Frames in sight after which a place is held with full weight; before, it is still being painted."""


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
        self._steps: dict[int, Motion] = {}
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
            stages=tuple(Stage(s.size, self.param.iterations) for s in self.first.stages),
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
        # At a coarser size the free places run into the held ones: let them hold something likely.
        held = tuple(
            TemporalTarget(
                term.distance,
                _laid_over(start, term),
                term.weights * self._settled(index, term.distance),
            )
            for term in terms
        )
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
            last = max(*self.distances, SETTLED_AFTER)
            for other in [i for i in self._near if i < index - last]:
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
            motion = self._motion(index, distance)
            weights = np.minimum(motion.weights, free).astype(np.float32)
            free = np.maximum(free - motion.weights, 0).astype(np.float32)
            picture = warp(self._painting(index - distance), motion.backward)
            terms.append(TemporalTarget(distance, picture, weights))
        return tuple(terms)

    def _settled(self, index: int, distance: int) -> Array:
        """How settled each place (H, W) of a frame was in the one `distance` back: 1, or less if it was new.

        Only the last SETTLED_AFTER frames are looked at, so that it does not matter where a run began.
        """
        earlier = index - distance
        age = np.full(self.shape, SETTLED_AFTER, np.float32)
        for number in range(max(1, earlier - SETTLED_AFTER + 1), earlier + 1):
            step = self._motion(number, 1)
            age = 1 + step.weights * warp(age[..., None], step.backward)[..., 0]
        seen = warp(age[..., None], self._motion(index, distance).backward)[..., 0]
        return np.minimum(seen / SETTLED_AFTER, 1).astype(np.float32)

    def _motion(self, index: int, distance: int) -> Motion:
        """The motion from a frame to one before; that of the last single steps is kept."""
        if distance == 1 and index in self._steps:
            return self._steps[index]
        motion = self.motion.between(self.frame(index), self.frame(index - distance), self.shape)
        if distance == 1:
            self._steps[index] = motion
            for other in [i for i in self._steps if i <= index - SETTLED_AFTER]:
                del self._steps[other]
        return motion

    def _start(self, frame: Frame, terms: tuple[TemporalTarget, ...]) -> Array:
        """The warped frames where they can be believed, the content in their colours elsewhere."""
        start = np.zeros((*self.shape, 3), np.float32)
        known = np.zeros(self.shape, np.float32)
        for term in terms:
            start += term.warped * term.weights[..., None]
            known += term.weights
        content = repainted(resize(frame.picture.rgb, self.shape), start, known)
        return start + (1 - known[..., None]) * content

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


def _laid_over(picture: Array, term: TemporalTarget) -> Array:
    """The picture with the warped frame in it, where that is held."""
    return picture + term.weights[..., None] * (term.warped - picture)


def repainted(content: Array, painting: Array, weights: Array) -> Array:
    """The content (H, W, 3) in the colours of a painting of it, of which `weights` (H, W) shows a part.

    One affine map of colours, by least squares where the painting is known: few iterations change the
    colours of whole surfaces little, so what comes in sight must not bring its own.
    """
    if weights.sum() < FEWEST_KNOWN * weights.size:
        return content
    root = np.sqrt(weights.reshape(-1, 1).astype(np.float64))
    colours = np.concatenate([content.reshape(-1, 3), np.ones((weights.size, 1))], axis=1)
    target = painting.reshape(-1, 3) * root
    affine = np.linalg.lstsq(colours * root, target, rcond=None)[0]
    return np.asarray(np.clip(colours @ affine, 0, 255).reshape(content.shape), np.float32)


def _checked(param: VideoParameter) -> tuple[int, ...]:
    """How many frames back the terms look, the nearest first; raises UsageError."""
    distances = list(param.distances) or [1]
    if min(distances) < 1 or len(set(distances)) < len(distances) or 1 not in distances:
        raise UsageError(
            f"video: distances must be different whole numbers with 1 among them (got {distances})"
        )
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
