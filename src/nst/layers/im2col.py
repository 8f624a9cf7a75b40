"""Im2col: lays out the window around every place as a column.

Formula   y[n, (c, tap), place] = x[n, c, place * stride - pad + tap * dilation], 0 in the padding
          dx = the sum of dy over all windows that read the place
Bottoms   x (N..., C, spatial...)
Tops      y (N..., C * kernel count, out...): out as in Convolution
Params    convolution_param { kernel_size | kernel_h, kernel_w  stride = 1  pad = 0  dilation = 1
          axis = 1 (channels) }; the others change nothing here
Gradient  exact
Errors    kernel missing or given twice, zero sizes (setup); kernel larger than the padded bottom (reshape)
Source    Caffe Im2colLayer
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from nst.backend import Array
from nst.core import Blob, Layer, Shape
from nst.core.shapes import canonical_axis, conv_out, count
from nst.layers.conv_params import read_geometry


class Im2col(Layer):
    type = "Im2col"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.convolution_param
        self.axis = canonical_axis(p.axis, bottom_shapes[0], layer=self.name)
        self.spatial_axes = len(bottom_shapes[0]) - self.axis - 1
        if self.spatial_axes < 1:
            raise self.shape_error(
                f"there is no spatial axis after axis {self.axis} (got {bottom_shapes[0]})"
            )
        self.geometry = read_geometry(p, self.spatial_axes, self.name)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape, g = bottom_shapes[0], self.geometry
        if len(shape) != self.axis + 1 + self.spatial_axes:
            raise self.shape_error(
                f"number of axes changed (got {shape}, expected {self.spatial_axes} spatial ones)"
            )
        windows = zip(shape[self.axis + 1 :], g.kernel, g.stride, g.pad, g.dilation, strict=True)
        out = tuple(conv_out(*window) for window in windows)
        if any(size < 1 for size in out):
            raise self.shape_error(
                f"the kernel does not fit into the padded bottom (got bottom {shape} with kernel "
                f"{g.kernel}, pad {g.pad}, dilation {g.dilation}, which would give {out})"
            )
        channels = shape[self.axis] * math.prod(g.kernel)
        return [(*shape[: self.axis], channels, *out)]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        padded = self._padded(bottom[0].shape)
        padded[self._inner(bottom[0].shape)] = self._batch(bottom[0].data)
        for column, index in self._taps(top[0].data, bottom[0].shape):
            column[...] = padded[index]

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        padded = self._padded(bottom[0].shape)
        for column, index in self._taps(top[0].diff, bottom[0].shape):
            padded[index] += column
        self._batch(bottom[0].diff)[...] = padded[self._inner(bottom[0].shape)]

    def _batch(self, array: Array) -> Array:
        return array.reshape(-1, *array.shape[self.axis :])

    def _padded(self, shape: Shape) -> Array:
        """Zeros (N, C, padded spatial...)."""
        sizes = zip(shape[self.axis + 1 :], self.geometry.pad, strict=True)
        extent = (size + 2 * pad for size, pad in sizes)
        batch = count(shape, 0, self.axis)
        return self.backend.zeros((batch, shape[self.axis], *extent), self.context.dtype)

    def _inner(self, shape: Shape) -> tuple[slice, ...]:
        """Where the bottom lies inside its padded copy."""
        sizes = zip(shape[self.axis + 1 :], self.geometry.pad, strict=True)
        return (slice(None), slice(None), *(slice(pad, pad + size) for size, pad in sizes))

    def _taps(self, columns: Array, shape: Shape) -> Iterator[tuple[Array, tuple[slice, ...]]]:
        """Yields, per window position, (its columns (N, C, out...), what they read of the padding)."""
        g = self.geometry
        batch = self._batch(columns)
        out = batch.shape[2:]
        by_tap = batch.reshape(len(batch), shape[self.axis], math.prod(g.kernel), *out)
        for tap, offsets in enumerate(itertools.product(*(range(k) for k in g.kernel))):
            steps = zip(offsets, g.dilation, g.stride, out, strict=True)
            reads = (slice(o * d, o * d + (n - 1) * s + 1, s) for o, d, s, n in steps)
            yield by_tap[:, :, tap], (slice(None), slice(None), *reads)
