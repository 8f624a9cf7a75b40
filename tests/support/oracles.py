"""Slow, obviously right versions of the operations: naive loops, written from the formulas alone."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
Sizes = tuple[int, ...]


def naive_conv(
    x: Values,
    w: Values,
    bias: Values | None,
    *,
    stride: Sizes,
    pad: Sizes,
    dilation: Sizes,
    group: int = 1,
) -> Values:
    """Cross-correlation; x (N, C, spatial...), w (O, C / group, kernel...), any number of spatial axes."""
    kernel = w.shape[2:]
    spatial = x.shape[2:]
    out = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(spatial, kernel, stride, pad, dilation, strict=True)
    )
    y = np.zeros((x.shape[0], w.shape[0], *out))
    inputs, outputs = w.shape[1], w.shape[0] // group
    for n, o, *place in itertools.product(*map(range, y.shape)):
        total = 0.0 if bias is None else float(bias[o])
        for c, *tap in itertools.product(range(inputs), *map(range, kernel)):
            at = [
                i * s - p + t * d
                for i, s, p, t, d in zip(place, stride, pad, tap, dilation, strict=True)
            ]
            if all(0 <= a < size for a, size in zip(at, spatial, strict=True)):
                total += x[(n, o // outputs * inputs + c, *at)] * w[(o, c, *tap)]
        y[(n, o, *place)] = total
    return y


def naive_deconv(
    x: Values,
    w: Values,
    bias: Values | None,
    *,
    stride: Sizes,
    pad: Sizes,
    dilation: Sizes,
    group: int = 1,
) -> Values:
    """Every input value stamps the kernel; x (N, C, spatial...), w (C, O / group, kernel...)."""
    kernel = w.shape[2:]
    out = tuple(
        s * (n - 1) + d * (k - 1) + 1 - 2 * p
        for n, k, s, p, d in zip(x.shape[2:], kernel, stride, pad, dilation, strict=True)
    )
    inputs, outputs = x.shape[1] // group, w.shape[1]
    y = np.zeros((x.shape[0], outputs * group, *out))
    for n, c, *place in itertools.product(*map(range, x.shape)):
        for o, *tap in itertools.product(range(outputs), *map(range, kernel)):
            at = [
                i * s - p + t * d
                for i, s, p, t, d in zip(place, stride, pad, tap, dilation, strict=True)
            ]
            if all(0 <= a < size for a, size in zip(at, out, strict=True)):
                channel = c // inputs * outputs + o
                y[(n, channel, *at)] += x[(n, c, *place)] * w[(c, o, *tap)]
    if bias is not None:
        y += bias.reshape(-1, *(1 for _ in out))
    return y


def naive_pool_out(size: int, kernel: int, stride: int, pad: int, *, ceil: bool = True) -> int:
    """Caffe's output size: rounded up, less a window that would begin in the far padding."""
    rounded = math.ceil if ceil else math.floor
    out = rounded((size + 2 * pad - kernel) / stride) + 1
    return out - 1 if pad and (out - 1) * stride >= size + pad else out


def naive_max_pool(
    x: Values, kernel: Sizes, stride: Sizes, pad: Sizes, *, ceil: bool = True
) -> tuple[Values, Values]:
    """(maxima, flat index of the first winner) of x (N, C, H, W)."""
    height, width = x.shape[2:]
    out = [
        naive_pool_out(*sizes, ceil=ceil)
        for sizes in zip((height, width), kernel, stride, pad, strict=True)
    ]
    y = np.full((*x.shape[:2], *out), -np.finfo(np.float32).max)
    mask = np.full(y.shape, -1)
    for n, c, i, j in itertools.product(*map(range, y.shape)):
        for h, v in _window(i, j, kernel, stride, pad, (height, width)):
            if x[n, c, h, v] > y[n, c, i, j]:
                y[n, c, i, j], mask[n, c, i, j] = x[n, c, h, v], h * width + v
    return y, mask


def naive_avg_pool(
    x: Values, kernel: Sizes, stride: Sizes, pad: Sizes, *, ceil: bool = True
) -> Values:
    """Means of x (N, C, H, W); the divisor is the window clipped to the picture plus its padding."""
    height, width = x.shape[2:]
    out = [
        naive_pool_out(*sizes, ceil=ceil)
        for sizes in zip((height, width), kernel, stride, pad, strict=True)
    ]
    y = np.zeros((*x.shape[:2], *out))
    for n, c, i, j in itertools.product(*map(range, y.shape)):
        inside = _window(i, j, kernel, stride, pad, (height, width))
        total = sum(float(x[n, c, h, v]) for h, v in inside)
        rows = min(i * stride[0] - pad[0] + kernel[0], height + pad[0]) - (i * stride[0] - pad[0])
        columns = min(j * stride[1] - pad[1] + kernel[1], width + pad[1]) - (j * stride[1] - pad[1])
        y[n, c, i, j] = total / (rows * columns)
    return y


def naive_lrn(x: Values, size: int, alpha: float, beta: float, k: float) -> Values:
    """Across-channel normalisation of x (N, C, ...)."""
    y = np.zeros_like(x, dtype=np.float64)
    reach = (size - 1) // 2
    for c in range(x.shape[1]):
        near = x[:, max(0, c - reach) : c + reach + 1]
        y[:, c] = x[:, c] * (k + alpha / size * (near**2).sum(axis=1)) ** -beta
    return y


def naive_gram(x: Values) -> Values:
    """Inner products of the maps of x (N, C, H, W): (N, C, C)."""
    batch, channels = x.shape[:2]
    y = np.zeros((batch, channels, channels))
    for n, a, b in itertools.product(range(batch), range(channels), range(channels)):
        y[n, a, b] = float((x[n, a] * x[n, b]).sum())
    return y


def _window(
    i: int, j: int, kernel: Sizes, stride: Sizes, pad: Sizes, extent: Sizes
) -> list[tuple[int, int]]:
    """Places of one window that lie inside the picture, row by row."""
    rows = (i * stride[0] - pad[0] + t for t in range(kernel[0]))
    columns = [j * stride[1] - pad[1] + t for t in range(kernel[1])]
    return [(h, v) for h in rows for v in columns if 0 <= h < extent[0] and 0 <= v < extent[1]]
