"""Where the motion between two frames comes from: OpenCV, files, or nowhere.

    ESTIMATE   dense inverse search (Kroeger et al. 2016) by OpenCV, both ways, checked against each other
    FILES      backward_I_J.flo and forward_J_I.flo, I > J, frames counted from 1, as artistic-videos names
               them; .npy too. reliable_I_J.pgm or .png, if there, replaces the check of the two
    NONE       everything stands still; a pixel that changes its colour is free

Flows are at the size of the painting: files have that of the frames and are resized.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nst.errors import FileError, ShapeError, UsageError
from nst.io.flow_file import SUFFIXES, read_flow
from nst.io.images import Picture, read_picture
from nst.io.recipe import FileRecord
from nst.io.resample import resize
from nst.proto import VideoParameter
from nst.style.video.flow import reliability, resize_flow

Array = NDArray[np.float32]

STILL_LEVELS = 10.0
"""Without flow: how much a colour value, 0 to 255, may change at a place that stands still."""

_GREY = (".pgm", ".png")

HOW_TO_GET_OPENCV = "pip install 'nst-caffe[flow]' installs it"


@dataclass(frozen=True)
class Frame:
    """One frame of the sequence, counted from 0."""

    index: int
    picture: Picture


@dataclass(frozen=True)
class Motion:
    """From a frame back to an earlier one, at the size of the painting."""

    backward: Array
    """(H, W, 2) pixels to the right and down."""
    weights: Array
    """(H, W): 1 where the two frames show the same, 0 where not."""


class MotionSource(Protocol):
    """Gives the motion between any two frames."""

    @property
    def name(self) -> str:
        """What the user is told, and what a painted frame depends on."""
        ...

    def between(self, later: Frame, earlier: Frame, shape: tuple[int, int]) -> Motion:
        """The motion at a painting of `shape` (height, width)."""
        ...

    def key(self, later: int, earlier: int) -> str:
        """What the motion between these frames depends on, besides the frames.

        Raises FileError, before anything is painted, if it is not to be had.
        """
        ...


def choose_motion(param: VideoParameter) -> MotionSource:
    """The source that the settings ask for; raises UsageError where it is not to be had."""
    flow = param.flow
    if flow == VideoParameter.AUTO:
        if param.flow_files:
            flow = VideoParameter.FILES
        else:
            flow = VideoParameter.ESTIMATE if has_opencv() else VideoParameter.NONE
    elif param.flow_files and flow != VideoParameter.FILES:
        word = VideoParameter.Flow.Name(flow).lower()
        raise UsageError(f"flow: {word} needs no files (got flow_files {param.flow_files!r})")
    if flow == VideoParameter.ESTIMATE:
        return EstimatedMotion()
    if flow == VideoParameter.FILES:
        if not param.flow_files:
            raise UsageError("flow: no folder of flow files named (expected flow_files)")
        return MotionFiles(Path(param.flow_files))
    return NoMotion()


def has_opencv() -> bool:
    """Whether OpenCV is installed; it is not loaded."""
    return importlib.util.find_spec("cv2") is not None


class EstimatedMotion:
    """Dense inverse search by OpenCV, at the finest of its scales."""

    def __init__(self) -> None:
        try:
            opencv: Any = importlib.import_module("cv2")  # its stubs do not know all of it
        except ImportError as error:
            raise UsageError(
                f"flow: estimating it needs OpenCV, which is not here ({error}). {HOW_TO_GET_OPENCV}"
            ) from error
        self._opencv = opencv
        self._search = opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._search.setFinestScale(0)
        self.name = f"estimated by dense inverse search, OpenCV {opencv.__version__}"

    def between(self, later: Frame, earlier: Frame, shape: tuple[int, int]) -> Motion:
        new, old = (self._grey(frame, shape) for frame in (later, earlier))
        backward = np.asarray(self._search.calc(new, old, None), np.float32)
        forward = np.asarray(self._search.calc(old, new, None), np.float32)
        return Motion(backward, reliability(backward, forward))

    def key(self, later: int, earlier: int) -> str:
        return self.name

    def _grey(self, frame: Frame, shape: tuple[int, int]) -> NDArray[np.uint8]:
        rgb = np.rint(resize(frame.picture.rgb, shape)).astype(np.uint8)
        return np.asarray(self._opencv.cvtColor(rgb, self._opencv.COLOR_RGB2GRAY), np.uint8)


@dataclass(frozen=True)
class MotionFiles:
    """Flows that another program has computed."""

    folder: Path

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise FileError("no such folder of flow files", path=str(self.folder))

    @property
    def name(self) -> str:
        return f"files of {self.folder.name}"

    def between(self, later: Frame, earlier: Frame, shape: tuple[int, int]) -> Motion:
        i, j = later.index + 1, earlier.index + 1
        size = later.picture.rgb.shape[:2]
        backward = self._flow(f"backward_{i}_{j}", size, shape)
        given = self._find(f"reliable_{i}_{j}", _GREY)
        if given is None:
            return Motion(
                backward, reliability(backward, self._flow(f"forward_{j}_{i}", size, shape))
            )
        weights = resize(read_picture(given).rgb[..., 0], shape) / 255
        return Motion(backward, np.where(np.isnan(backward).any(axis=2), 0, weights))

    def key(self, later: int, earlier: int) -> str:
        i, j = later + 1, earlier + 1
        given = self._find(f"reliable_{i}_{j}", _GREY)
        files = [self._existing(f"backward_{i}_{j}")]
        files.append(given or self._existing(f"forward_{j}_{i}"))
        return " ".join(FileRecord.of(path).sha256 for path in files)

    def _flow(self, stem: str, size: tuple[int, ...], shape: tuple[int, int]) -> Array:
        path = self._existing(stem)
        flow = read_flow(path)
        if flow.shape[:2] != size:
            raise ShapeError(
                f"{path}: not the size of the frames (got {flow.shape[1]}x{flow.shape[0]}, expected "
                f"{size[1]}x{size[0]})"
            )
        return resize_flow(flow, shape)

    def _existing(self, stem: str) -> Path:
        path = self._find(stem, SUFFIXES)
        if path is None:
            raise FileError(
                f"no flow from frame to frame (expected {stem}.flo or {stem}.npy)",
                path=str(self.folder),
            )
        return path

    def _find(self, stem: str, suffixes: tuple[str, ...]) -> Path | None:
        paths = (self.folder / f"{stem}{suffix}" for suffix in suffixes)
        return next((path for path in paths if path.is_file()), None)


class NoMotion:
    """Everything stands still; places that change their colour are free."""

    name = f"none: what changes by more than {STILL_LEVELS:g} levels is painted anew"

    def between(self, later: Frame, earlier: Frame, shape: tuple[int, int]) -> Motion:
        new, old = (resize(frame.picture.rgb, shape) for frame in (later, earlier))
        change = np.abs(new - old).max(axis=2)
        return Motion(
            np.zeros((*shape, 2), np.float32), (change <= STILL_LEVELS).astype(np.float32)
        )

    def key(self, later: int, earlier: int) -> str:
        return self.name
