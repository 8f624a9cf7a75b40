"""Pooling on numpy: one pass per window offset, so that cost grows with the kernel and not with Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend.geometry import PoolGeometry
from nst.backend.interface import float32_lowest

FloatArray = NDArray[Any]


class NumpyPooling:
    """The pooling members of the numpy backend."""

    def max_pool(
        self, x: FloatArray, geometry: PoolGeometry, out: FloatArray, argmax: NDArray[np.int32]
    ) -> None:
        out.fill(float32_lowest())
        argmax.fill(-1)
        width = x.shape[3]
        for target, source, (rows, cols) in _taps(x.shape[2:], out.shape[2:], geometry):
            candidate = x[source]
            wins = candidate > out[target]  # strict: ties go to the first, NaN never wins
            np.copyto(out[target], candidate, where=wins)
            index = (rows[:, None] * width + cols[None, :]).astype(np.int32)
            np.copyto(argmax[target], np.broadcast_to(index, wins.shape), where=wins)

    def max_pool_backward(
        self, dy: FloatArray, argmax: NDArray[np.int32], geometry: PoolGeometry, dx: FloatArray
    ) -> None:
        dx.fill(0)
        width = dx.shape[3]
        for target, source, (rows, cols) in _taps(dx.shape[2:], dy.shape[2:], geometry):
            index = (rows[:, None] * width + cols[None, :]).astype(np.int32)
            dx[source] += dy[target] * (argmax[target] == index)

    def avg_pool(self, x: FloatArray, geometry: PoolGeometry, out: FloatArray) -> None:
        out.fill(0)
        for target, source, _ in _taps(x.shape[2:], out.shape[2:], geometry):
            out[target] += x[source]
        with np.errstate(
            invalid="ignore"
        ):  # a window outside the picture is 0/0 = NaN, as in Caffe
            out /= _window_sizes(x.shape[2:], out.shape[2:], geometry).astype(out.dtype)

    def avg_pool_backward(self, dy: FloatArray, geometry: PoolGeometry, dx: FloatArray) -> None:
        dx.fill(0)
        sizes = _window_sizes(dx.shape[2:], dy.shape[2:], geometry).astype(dy.dtype)
        share = np.divide(dy, sizes, out=np.zeros_like(dy), where=sizes > 0)
        for target, source, _ in _taps(dx.shape[2:], dy.shape[2:], geometry):
            dx[source] += share[target]


Region = tuple[Any, ...]


def _taps(
    extent: tuple[int, ...], out_extent: tuple[int, ...], geometry: PoolGeometry
) -> Iterator[tuple[Region, Region, tuple[NDArray[np.intp], NDArray[np.intp]]]]:
    """Yields, per window offset, (outputs it serves, inputs it reads, their row and column numbers).

    Offsets come in row-major order; outputs whose tap falls into the padding or beyond are left out.
    """
    for i in range(geometry.kernel[0]):
        out_rows, rows = _axis_taps(extent[0], out_extent[0], geometry, 0, i)
        for j in range(geometry.kernel[1]):
            out_cols, cols = _axis_taps(extent[1], out_extent[1], geometry, 1, j)
            if len(rows) and len(cols):
                target = (slice(None), slice(None), out_rows, out_cols)
                source = (
                    slice(None),
                    slice(None),
                    slice(rows[0], rows[-1] + 1, geometry.stride[0]),
                    slice(cols[0], cols[-1] + 1, geometry.stride[1]),
                )
                yield target, source, (rows, cols)


def _axis_taps(
    size: int, out_size: int, geometry: PoolGeometry, axis: int, offset: int
) -> tuple[slice, NDArray[np.intp]]:
    """Output range along one axis whose tap `offset` lies inside the picture, and where it lies."""
    position = np.arange(out_size) * geometry.stride[axis] - geometry.pad[axis] + offset
    inside = np.flatnonzero((position >= 0) & (position < size))
    if not len(inside):
        return slice(0, 0), inside
    return slice(int(inside[0]), int(inside[-1]) + 1), position[inside]


def _window_sizes(
    extent: tuple[int, ...], out_extent: tuple[int, ...], geometry: PoolGeometry
) -> NDArray[np.intp]:
    """(OH, OW) divisors of the mean: window clipped to the picture plus padding (Caffe's rule)."""
    lengths = []
    for axis in (0, 1):
        begin = np.arange(out_extent[axis]) * geometry.stride[axis] - geometry.pad[axis]
        end = np.minimum(begin + geometry.kernel[axis], extent[axis] + geometry.pad[axis])
        lengths.append(end - begin)
    return lengths[0][:, None] * lengths[1][None, :]
