"""Motion between two frames: warping along a flow, and where that can be believed.

A backward flow (H, W, 2) tells of every pixel of the later frame how far to the right and down it was in the
earlier one, so

    warped(p) = earlier(p + backward(p))

Where something new comes in sight there is nothing to be taken from the earlier frame; `reliability` is 0
there. Source: Ruder, Dosovitskiy and Brox 2016, arXiv 1604.08610, section 4; the checks of forward against
backward flow and of motion boundaries are those of Sundaram, Brox and Keutzer 2010.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.errors import ShapeError
from nst.io.resample import resize

Array = NDArray[np.float32]


def warp(picture: NDArray[Any], backward: Array) -> Array:
    """The picture (H, W, C) seen from the later frame; beyond its edges their pixels go on.

    Bicubic (Catmull and Rom): a flow of 0 changes no value, and textures lose less than in a bilinear warp,
    which would blur a sequence frame by frame. Unknown flow (NaN) counts as 0.
    """
    _check(picture, backward)
    known = np.nan_to_num(backward, nan=0.0)
    y, x = _positions(known)
    return np.clip(_sample(picture.astype(np.float32), y, x), picture.min(), picture.max())


def reliability(backward: Array, forward: Array) -> Array:
    """1 where the flow (H, W, 2) can be believed, 0 elsewhere, as (H, W).

    It cannot where it is unknown, leaves the picture, is not undone by the forward flow of where it leads
    (disocclusion, eq. 5), or changes abruptly (motion boundary, eq. 6).
    """
    _check(forward, backward)
    known = np.nan_to_num(backward, nan=0.0)
    y, x = _positions(known)
    height, width = y.shape
    ahead = _bilinear(forward, y, x)
    gap = _squares(ahead + known)
    believed = (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)
    believed &= ~np.isnan(backward).any(axis=2) & ~np.isnan(gap)
    with np.errstate(invalid="ignore"):
        believed &= gap <= 0.01 * (_squares(ahead) + _squares(known)) + 0.5
    return np.asarray(believed & ~_is_boundary(known), np.float32)


def resize_flow(flow: Array, shape: tuple[int, int]) -> Array:
    """The flow of the same scene at another size: its vectors grow with the picture."""
    height, width = flow.shape[:2]
    factors = np.array([shape[1] / width, shape[0] / height], np.float32)
    return resize(flow, shape, method="bilinear", limits=None) * factors


def _is_boundary(flow: Array) -> NDArray[np.bool_]:
    slopes = np.zeros(flow.shape[:2], np.float32)
    for component in (flow[..., 0], flow[..., 1]):
        for axis in (0, 1):
            if component.shape[axis] > 1:
                slopes += np.gradient(component, axis=axis) ** 2
    return slopes > 0.01 * _squares(flow) + 0.002


def _positions(flow: Array) -> tuple[Array, Array]:
    height, width = flow.shape[:2]
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    return rows + flow[..., 1], columns + flow[..., 0]


def _squares(flow: Array) -> Array:
    return np.asarray((flow**2).sum(axis=2), np.float32)


def _sample(picture: Array, y: Array, x: Array) -> Array:
    """Bicubic interpolation at (y, x), each (H, W)."""
    height, width = picture.shape[:2]
    result = np.zeros((*y.shape, picture.shape[2]), np.float32)
    top, left = np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)
    across = _catmull_rom(x - left)
    for i, down in enumerate(_catmull_rom(y - top)):
        row = np.clip(top + i - 1, 0, height - 1)
        for j, weight in enumerate(across):
            column = np.clip(left + j - 1, 0, width - 1)
            result += picture[row, column] * (down * weight)[..., None]
    return result


def _catmull_rom(t: Array) -> list[NDArray[Any]]:
    """Weights of the four neighbours at -1, 0, 1, 2 of a place t in 0 to 1."""
    return [
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    ]


def _bilinear(flow: Array, y: Array, x: Array) -> Array:
    """Linear interpolation of a flow at (y, x); NaN where a neighbour is unknown."""
    height, width = flow.shape[:2]
    top = np.clip(np.floor(y), 0, max(height - 2, 0)).astype(np.intp)
    left = np.clip(np.floor(x), 0, max(width - 2, 0)).astype(np.intp)
    down = np.clip(y - top, 0, 1)[..., None]
    right = np.clip(x - left, 0, 1)[..., None]
    bottom, beside = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    above = flow[top, left] * (1 - right) + flow[top, beside] * right
    below = flow[bottom, left] * (1 - right) + flow[bottom, beside] * right
    return np.asarray(above * (1 - down) + below * down, np.float32)


def _check(picture: NDArray[Any], flow: Array) -> None:
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.shape[:2] != picture.shape[:2]:
        raise ShapeError(
            f"flow: does not fit (got {flow.shape}, expected {(*picture.shape[:2], 2)})"
        )
