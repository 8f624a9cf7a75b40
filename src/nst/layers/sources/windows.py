"""Windows of pictures: the window file of detectors, and how a window is cut out and warped.

# image_index
path
channels
height
width
number of windows
class overlap x1 y1 x2 y2     per window, pixels, both ends included
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.errors import FileError, NetError
from nst.layers.sources.pictures import resize

Values = NDArray[Any]


@dataclass(frozen=True)
class Picture:
    """One picture of a window file."""

    path: str
    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class Window:
    """A rectangle of a picture, ends included, with its class and its overlap with an object."""

    picture: int
    label: int
    overlap: float
    x1: int
    y1: int
    x2: int
    y2: int


def read_window_file(path: str, *, layer: str) -> tuple[list[Picture], list[Window]]:
    """Pictures and all their windows. Raises FileError, or NetError for a file of another form."""
    try:
        words = iter(Path(path).read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(
            f"layer '{layer}': Failed to open window file {path} ({error})", path=path
        ) from error
    pictures: list[Picture] = []
    windows: list[Window] = []
    try:
        for mark in words:
            if mark != "#":
                raise ValueError(f"got {mark!r}, expected '#'")
            next(words)  # image_index: counted here, as in Caffe
            name = next(words)
            channels, height, width, number = (int(next(words)) for _ in range(4))
            for _ in range(number):
                label, overlap = int(next(words)), float(next(words))
                corners = [int(next(words)) for _ in range(4)]
                windows.append(Window(len(pictures), label, overlap, *corners))
            pictures.append(Picture(name, channels, height, width))
    except (ValueError, StopIteration) as error:
        reason = str(error) or "the file ends early"
        raise NetError(
            f"{path}: no window file: picture {len(pictures)}: {reason}", layer=layer
        ) from error
    if not pictures:
        raise NetError(f"{path}: Window file is empty", layer=layer)
    return pictures, windows


def cut_window(
    picture: Values,
    window: Window,
    side: int,
    *,
    context_pad: int,
    is_square: bool,
    is_mirrored: bool,
) -> tuple[Values, Values]:
    """Cuts a window out of (C, H, W) and warps it to a square of `side` pixels.

    With context the window grows until `context_pad` pixels of the crop lie around it; what lies outside the
    picture is 0. Returns (values (C, side, side), 1 where there is a picture (1, side, side)).
    """
    frame = _frame(window, side, context_pad, is_square)
    x, y = (
        _place(frame[i], frame[i + 2], picture.shape[2 - i], side, flip=is_mirrored and i == 0)
        for i in (0, 1)
    )
    part = picture[:, y.first : y.last + 1, x.first : x.last + 1]
    warped = resize(part, (y.length, x.length)).astype(np.float64)
    values = np.zeros((len(picture), side, side))
    inside = np.zeros((1, side, side))
    place = (
        slice(None),
        slice(y.offset, y.offset + y.length),
        slice(x.offset, x.offset + x.length),
    )
    values[place] = warped[:, :, ::-1] if is_mirrored else warped
    inside[place] = 1
    return values, inside


def _frame(
    window: Window, side: int, context_pad: int, is_square: bool
) -> tuple[int, int, int, int]:
    """The window with its context, x1 y1 x2 y2; it may leave the picture."""
    if not context_pad and not is_square:
        return window.x1, window.y1, window.x2, window.y2
    grow = side / (side - 2 * context_pad)
    half_width = (window.x2 - window.x1 + 1) / 2
    half_height = (window.y2 - window.y1 + 1) / 2
    centre_x, centre_y = window.x1 + half_width, window.y1 + half_height
    if is_square:
        half_width = half_height = max(half_width, half_height)
    return (
        _round(centre_x - half_width * grow),
        _round(centre_y - half_height * grow),
        _round(centre_x + half_width * grow),
        _round(centre_y + half_height * grow),
    )


@dataclass(frozen=True)
class _Span:
    """Along one axis: the pixels first .. last of the picture become `length` pixels at `offset`."""

    first: int
    last: int
    offset: int
    length: int


def _place(first: int, last: int, extent: int, side: int, *, flip: bool) -> _Span:
    """Clips to the picture and scales both the clipped part and what is missing around it."""
    scale = side / (last - first + 1)
    missing_before, missing_after = max(0, -first), max(0, last - extent + 1)
    first, last = first + missing_before, last - missing_after
    if last < first:
        raise NetError(f"a window lies outside its picture (got {first} to {last} of {extent})")
    length = max(1, _round((last - first + 1) * scale))
    offset = _round((missing_after if flip else missing_before) * scale)
    return _Span(first, last, offset, min(length, side - offset))


def _round(value: float) -> int:
    """Half away from zero, as C does."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))
