"""caffe.io.resize_image: the spline interpolation that pycaffe takes from scikit-image and SciPy, in numpy.

Both are linear and separable, so each axis is one matrix, and a picture of height h and width w is

    out = rows (H x h)  picture (h x w x channels)  columns^T (w x W).

1 or 3 channels (scikit-image's `resize`, mode "constant", anti-aliased): a Gaussian of (factor - 1) / 2
pixels where it shrinks, then samples at pixel centres, zero outside. The picture is brought to 0..1 first:
"zero" is its least value, so that enlarging darkens the outermost pixels, as it does in pycaffe.
Other numbers of channels (SciPy's `zoom`): samples from corner to corner, no filter, aliased.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.errors import ShapeError, UsageError

Floats = NDArray[np.float64]
Image = NDArray[np.float32]

_MARGIN = 12  # zeros around a spline's samples; what lies farther out counts less than 1e-7
_TRUNCATE = 4.0  # standard deviations of the Gaussian that are kept


def resize_image(im: NDArray[Any], new_dims: Sequence[int], interp_order: int = 1) -> Image:
    """Resizes (H, W, C) to (height, width) = `new_dims`; returns float32.

    `interp_order`: 0 nearest, 1 linear, 2 to 5 splines. Source: caffe.io.resize_image. Raises ShapeError for
    what is not (H, W, C), UsageError for another order.
    """
    im = np.asarray(im)
    height, width = (int(size) for size in new_dims)
    if im.ndim != 3 or min(im.shape) < 1 or min(height, width) < 1:
        raise ShapeError(
            f"resize_image: cannot resize {im.shape} to {(height, width)} (expected (H, W, C) with "
            "pixels in it). A grey picture is (H, W, 1)"
        )
    if interp_order not in range(6):
        raise UsageError(f"resize_image: interp_order (got {interp_order!r}, expected 0 to 5)")
    if im.shape[2] not in (1, 3):
        rows = _corner_weights(im.shape[0], height, interp_order)
        columns = _corner_weights(im.shape[1], width, interp_order)
        return _apply(rows, im.astype(np.float64), columns).astype(np.float32)
    low, high = float(im.min()), float(im.max())
    if low == high:
        return np.full((height, width, im.shape[2]), low, np.float32)
    rows = _centre_weights(im.shape[0], height, interp_order)
    columns = _centre_weights(im.shape[1], width, interp_order)
    unit = _apply(rows, (im.astype(np.float64) - low) / (high - low), columns)
    return (np.clip(unit, 0, 1) * (high - low) + low).astype(np.float32)


def _apply(rows: Floats, picture: Floats, columns: Floats) -> Floats:
    """rows @ picture @ columns^T, channel by channel, for a picture (h, w, channels)."""
    turned = np.swapaxes(_along_first_axis(rows, picture), 0, 1)
    return np.swapaxes(_along_first_axis(columns, turned), 0, 1)


def _along_first_axis(weights: Floats, picture: Floats) -> Floats:
    """weights @ picture; only the samples that count are touched, which are few unless splines are fitted."""
    out = np.empty((len(weights), *picture.shape[1:]))
    for i, row in enumerate(weights):
        used = np.flatnonzero(row)
        near = slice(used[0], used[-1] + 1)
        out[i] = np.tensordot(row[near], picture[near], axes=1)
    return out


def _corner_weights(size: int, new_size: int, order: int) -> Floats:
    """(new_size, size): the first and last samples lie on the first and last pixels."""
    return _spline_weights(np.linspace(0, size - 1, new_size, dtype=np.float64), size, order)


def _centre_weights(size: int, new_size: int, order: int) -> Floats:
    """(new_size, size): pixels are areas; smoothed before it shrinks, zero outside."""
    factor = size / new_size
    places: Floats = (np.arange(new_size, dtype=np.float64) + 0.5) * factor - 0.5
    padded = _spline_weights(places + _MARGIN, size + 2 * _MARGIN, order)
    weights = padded[:, _MARGIN:-_MARGIN]
    return _smoothed(weights, (factor - 1) / 2) if factor > 1 else weights


def _smoothed(weights: Floats, sigma: float) -> Floats:
    """weights @ G, with G the convolution by a sampled Gaussian over zeros at the border."""
    radius = int(_TRUNCATE * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    size = weights.shape[1]
    padded = np.pad(weights, ((0, 0), (radius, radius)))
    out = np.zeros_like(weights)
    for shift, tap in enumerate(taps):
        out += tap * padded[:, shift : shift + size]
    return out


def _spline_weights(places: Floats, size: int, order: int) -> Floats:
    """(places, size): the spline of that order through `size` samples, mirrored at its ends, at `places`."""
    if order == 0:
        nearest = np.floor(places + 0.5).astype(int).clip(0, size - 1)
        return np.take(np.eye(size), nearest, axis=0)
    values = _basis(places, size, order)
    if order == 1:
        return values
    through_samples = _basis(np.arange(size, dtype=np.float64), size, order)
    return np.transpose(np.linalg.solve(through_samples.T, values.T))


def _basis(places: Floats, size: int, order: int) -> Floats:
    """(places, size): B-splines of that order, centred on the samples, those beyond the ends mirrored in."""
    out = np.zeros((len(places), size))
    reach = (order + 1) // 2 + 1
    period = max(2 * (size - 1), 1)
    for step in range(-reach, reach + 1):
        centre = np.floor(places).astype(int) + step
        inside = np.abs((centre + size - 1) % period - (size - 1))  # ... 2 1 0 1 2 ... n-1 n-2 ...
        np.add.at(out, (np.arange(len(places)), inside), _b_spline(places - centre, order))
    return out


def _b_spline(x: Floats, order: int) -> Floats:
    """The cardinal B-spline at distance x of its centre, by truncated powers."""
    total = np.zeros_like(x)
    for k in range(order + 2):
        power = np.maximum(x + (order + 1) / 2 - k, 0) ** order
        total += (-1) ** k * math.comb(order + 1, k) * power
    return total / math.factorial(order)
