"""MVN: subtracts the mean and divides by the standard deviation, per channel or per example.

Formula   y = (x - m) / (s + eps), m and s^2 = mean and variance of the channel's plane;
          dx = (dy - mean dy - y * mean(dy * y)) / (s + eps).  Without variance: y = x - m, dx = dy - mean dy
Bottoms   x (N, C, any...)
Tops      y (same shape), may be x itself
Params    mvn_param { normalize_variance = true  across_channels = false (true: m and s of the whole example)
          eps = 1e-9 }
Gradient  Caffe's: exact for eps -> 0. Exactly, the term with y would be divided by s instead of s + eps
Errors    a bottom without a channel axis (reshape)
Source    Caffe MVNLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Shape
from nst.layers.neuron import Neuron


class MVN(Neuron):
    type = "MVN"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.mvn_param
        self.divides: bool = p.normalize_variance
        self.kept_axes = 1 if p.across_channels else 2
        self.eps: float = p.eps
        self.normalized = self.new_blob()
        """y of the last forward: layers that work in place on the top may change the top's own values."""

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        if len(bottom_shapes[0]) < 2:
            raise self.shape_error(
                f"bottom needs batch and channel axes (got {bottom_shapes[0]}, expected (N, C, ...))"
            )
        return [bottom_shapes[0]]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        self.backend.xp.subtract(x, self._mean(x), out=y)
        if self.divides:
            self.deviation = self.backend.xp.sqrt(self._mean(y * y)) + self.eps
            y /= self.deviation
            self.normalized.reshape(*bottom[0].shape)
            self.normalized.data[...] = y

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        slope = self._mean(dy * self.normalized.data) if self.divides else None
        self.backend.xp.subtract(dy, self._mean(dy), out=dx)
        if slope is not None:
            dx -= self.normalized.data * slope
            dx /= self.deviation

    def _mean(self, array: Array) -> Array:
        """Mean per plane or per example, with the summed axes kept as 1."""
        axes = tuple(range(self.kept_axes, array.ndim))
        return array.mean(axis=axes, keepdims=True)
