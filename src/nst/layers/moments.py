"""Moments: means of features and of their products over all places; raw, so that pictures mix linearly.

Formula   F (C, K) the maps as rows, K places
          y[:, 0] = mean_scale * mean_k F[:, k]
          y[:, 1:] = F F^T / K (FULL), the diagonal of it (DIAGONAL), or left out (NONE)
          dF = (D + D^T) F / K + mean_scale * dy[:, 0] / K, with D = dy[:, 1:] (DIAGONAL: D a diagonal)
          with a mask the means are weighed: place k counts m_k / sum m in the place of 1 / K
Bottoms   x (M..., C, K...): feature maps; `axis` is the first of the K axes; optional mask m >= 0
          (M..., 1, K...) or (1..., 1, K...): how much each place counts
Tops      y (M..., C, 1 + C), (M..., C, 2) or (M..., C, 1)
Params    moments_param { axis = 2  second = FULL | DIAGONAL | NONE  mean_scale = 1 }
Gradient  exact; the mask receives none
Errors    mean_scale not finite (setup); axis out of range or 0, another shape of the mask (reshape); a value
          of the mask below 0 (forward)
Source    Li, Wang, Liu, Hou 2017 (arXiv 1701.01036): with EuclideanLoss of weight 2 it is the MMD of the
          linear kernel (NONE) or of (x.y + c)^2 (FULL, mean_scale = sqrt(2 c)); Gatys' term is c = 0
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nst.backend import Array
from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import canonical_axis, count
from nst.layers.guide import Guide
from nst.proto import MomentsParameter


class Moments(Layer):
    type = "Moments"
    bottoms = Arity.between(1, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.moments_param
        if not math.isfinite(p.mean_scale):
            raise self.net_error(f"mean_scale must be finite (got {p.mean_scale})")
        self.axis = canonical_axis(p.axis, bottom_shapes[0], layer=self.name)
        if self.axis == 0:
            raise self.shape_error(
                "axis 0 leaves no channel axis before it (got axis 0, expected at least 1)"
            )
        self.second: int = p.second
        self.mean_scale: float = p.mean_scale
        self.products = self.new_blob()
        self.guide = Guide(self, normalized=True)
        self.gradient = self.new_blob()

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if len(shape) <= self.axis:
            raise self.shape_error(f"bottom has too few axes (got {shape}, expected > {self.axis})")
        if len(bottom_shapes) == 2:
            self.guide.check(shape, bottom_shapes[1], self.axis)
        channels = shape[self.axis - 1]
        widths: dict[int, int] = {
            MomentsParameter.FULL: 1 + channels,
            MomentsParameter.DIAGONAL: 2,
            MomentsParameter.NONE: 1,
        }
        return [(*shape[: self.axis], widths[self.second])]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self._rows(bottom[0].data)  # (M, C, K)
        share = 1.0 / x.shape[2]
        if len(bottom) == 2:
            x, share = self.guide.weigh(x, bottom[1].data), 1.0
            mean = (x * self.guide.roots).sum(axis=2)
        else:
            mean = x.mean(axis=2)
        maps, channels, _ = x.shape
        y = top[0].data.reshape(maps, channels, -1)
        y[:, :, 0] = mean
        y[:, :, 0] *= self.mean_scale
        if self.second == MomentsParameter.FULL:
            self.products.reshape(maps, channels, channels)
            self.backend.gram(x, share, self.products.data)
            y[:, :, 1:] = self.products.data
        elif self.second == MomentsParameter.DIAGONAL:
            y[:, :, 1] = (x * x).sum(axis=2) * share

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if len(bottom) == 2 and propagate_down[1]:
            raise self.net_error("no gradient goes to the mask")
        if not propagate_down[0]:
            return
        x, dx = self._rows(bottom[0].data), self._rows(bottom[0].diff)
        dy = top[0].diff.reshape(*x.shape[:2], -1)
        if len(bottom) == 1:
            self._differentiate(dy, x, 1.0 / x.shape[2], dx)
            dx += dy[:, :, :1] * (self.mean_scale / x.shape[2])
            return
        weighed = self.guide.weighed
        self.gradient.reshape(*weighed.shape)
        gradient = self.gradient.data
        self._differentiate(dy, weighed.data, 1.0, gradient)
        gradient += dy[:, :, :1] * self.mean_scale * self.guide.roots
        self.guide.scatter(gradient, dx)

    def allows_force_backward(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def _differentiate(self, dy: Array, x: Array, share: float, dx: Array) -> None:
        """The gradient of `share` times the second moments."""
        if self.second == MomentsParameter.FULL:
            d = self.products.data
            d[...] = dy[:, :, 1:]
            self.backend.gram_backward(d, x, share, dx)
        elif self.second == MomentsParameter.DIAGONAL:
            self.backend.xp.multiply(x, dy[:, :, 1:] * (2.0 * share), out=dx)
        else:
            dx[...] = 0

    def _rows(self, array: Array) -> Array:
        shape = array.shape
        return array.reshape(count(shape, 0, self.axis - 1), shape[self.axis - 1], -1)
