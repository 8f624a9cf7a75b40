"""Threshold: tells which values exceed a bound.

Formula   y = 1 where x > t, else 0
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    threshold_param { threshold = 0: t }
Gradient  none: asking for one is an error
Source    Caffe ThresholdLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, NotDifferentiable, Shape


class Threshold(NotDifferentiable):
    type = "Threshold"
    allows_in_place = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.threshold: float = self.param.threshold_param.threshold

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [bottom_shapes[0]]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data[...] = bottom[0].data > self.threshold
