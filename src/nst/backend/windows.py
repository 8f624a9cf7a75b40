"""Sliding windows over arrays: im2col by kernel offset, a few output rows at a time.

Arrays here have one image and no batch axis: (C, spatial...); `xp` is their module. Work is cut along the
first output axis so that the column buffer stays near `CHUNK_BYTES` whatever the picture size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from nst.backend.geometry import ConvGeometry

CHUNK_BYTES = 8 << 20
"""Aim for the size of one column buffer: large enough for a fast GEMM, small enough for the L3 cache."""

FloatArray = NDArray[Any]


def pad_spatial(
    x: FloatArray, before: tuple[int, ...], shape: tuple[int, ...], xp: Any
) -> FloatArray:
    """Returns x (C, spatial...) placed at offset `before` in zeros of spatial extent `shape`."""
    if x.shape[1:] == shape and not any(before):
        return x
    padded: FloatArray = xp.zeros((x.shape[0], *shape), x.dtype)
    padded[inner(before, x.shape[1:])] = x
    return padded


def inner(before: tuple[int, ...], extent: tuple[int, ...]) -> tuple[slice, ...]:
    """Index of the original picture inside its padded copy, channel axis first."""
    return (slice(None), *(slice(b, b + e) for b, e in zip(before, extent, strict=True)))


def padded_extent(spatial: tuple[int, ...], geometry: ConvGeometry) -> tuple[int, ...]:
    """Spatial extent after padding both sides."""
    return tuple(s + 2 * p for s, p in zip(spatial, geometry.pad, strict=True))


def chunks(out_spatial: tuple[int, ...], depth: int, itemsize: int) -> Iterator[tuple[int, int]]:
    """Yields (first, last + 1) rows of the first output axis; `depth` = values per output position."""
    row_bytes = depth * math.prod(out_spatial[1:]) * itemsize
    rows = max(1, CHUNK_BYTES // max(1, row_bytes))
    for start in range(0, out_spatial[0], rows):
        yield start, min(start + rows, out_spatial[0])


def offset_views(
    padded: FloatArray, geometry: ConvGeometry, start: int, out_extent: tuple[int, ...]
) -> Iterator[tuple[int, FloatArray]]:
    """Yields (kernel position, view) where view (C, out_extent...) is what that kernel tap reads.

    `start` is the first output row of the chunk whose output extent is `out_extent`.
    """
    firsts = (start, *(0 for _ in out_extent[1:]))
    for tap, offset in enumerate(itertools.product(*(range(k) for k in geometry.kernel))):
        index: list[slice] = [slice(None)]
        for o, d, s, f, n in zip(
            offset, geometry.dilation, geometry.stride, firsts, out_extent, strict=True
        ):
            begin = f * s + o * d
            index.append(slice(begin, begin + (n - 1) * s + 1, s))
        yield tap, padded[tuple(index)]


def columns(
    padded: FloatArray, geometry: ConvGeometry, start: int, out_extent: tuple[int, ...], xp: Any
) -> FloatArray:
    """im2col of one chunk: (C * taps, positions), rows ordered channel-major as Caffe's weights are."""
    channels, taps = padded.shape[0], math.prod(geometry.kernel)
    cols: FloatArray = xp.empty((channels, taps, *out_extent), padded.dtype)
    for tap, view in offset_views(padded, geometry, start, out_extent):
        cols[:, tap] = view
    return cols.reshape(channels * taps, -1)


def add_columns(
    cols: FloatArray,
    padded: FloatArray,
    geometry: ConvGeometry,
    start: int,
    out_extent: tuple[int, ...],
) -> None:
    """col2im of one chunk: adds cols (C * taps, positions) onto the padded picture they were read from."""
    taps = math.prod(geometry.kernel)
    cols = cols.reshape(padded.shape[0], taps, *out_extent)
    for tap, view in offset_views(padded, geometry, start, out_extent):
        view += cols[:, tap]
