"""LRN: local response normalisation, across channels or within one.

Formula   ACROSS_CHANNELS: y = x * s^-beta, s = k + alpha/n * sum of x^2 over n channels around each one
          WITHIN_CHANNEL:  y = x * s^-beta, s = 1 + alpha * mean of x^2 over n x n places (padding counts)
          dx = dy * s^-beta - 2 beta alpha/n * x * sum dy * y / s  over the same windows
Bottoms   x (N, C, H, W)
Tops      y (same shape)
Params    lrn_param { local_size = 5: n, odd  alpha = 1  beta = 0.75  k = 1 (ACROSS_CHANNELS only)
          norm_region = ACROSS_CHANNELS | WITHIN_CHANNEL }; `engine` changes nothing here
Gradient  exact
Errors    even local_size (setup); a bottom without 4 axes (reshape)
Source    Krizhevsky et al. 2012, 3.3; Caffe LRNLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import PoolGeometry
from nst.core import Blob, Shape
from nst.layers.neuron import Neuron
from nst.proto import LRNParameter


class LRN(Neuron):
    type = "LRN"
    allows_in_place = False

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.lrn_param
        if p.local_size % 2 == 0:
            raise self.net_error(
                f"LRN only supports odd values for local_size (got {p.local_size})"
            )
        self.size: int = p.local_size
        self.alpha: float = p.alpha
        self.beta: float = p.beta
        self.k: float = p.k
        self.is_within_channel = p.norm_region == LRNParameter.WITHIN_CHANNEL
        reach = (self.size - 1) // 2
        self.window = PoolGeometry((self.size, self.size), (1, 1), (reach, reach))
        self.scale = self.new_blob()
        self.scratch = self.new_blob()

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        if len(bottom_shapes[0]) != 4:
            raise self.shape_error(
                "Input must have 4 axes, corresponding to (num, channels, height, width) "
                f"(got {bottom_shapes[0]})"
            )
        return [bottom_shapes[0]]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._normalise(bottom, top)
        self.remember_output(top[0])

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        x, y, scale = bottom[0].data, self.recall_output(top[0]), self.scale.data
        dy, dx = top[0].diff, bottom[0].diff
        if not self.is_within_channel:
            self.backend.lrn_backward(x, y, scale, dy, self.size, self.alpha, self.beta, dx)
            return
        self.scratch.reshape(*bottom[0].shape)
        work, xp = self.scratch.data, self.backend.xp
        xp.multiply(dy, y, out=work)
        work /= scale  # dy * x * s^(-beta - 1)
        self.backend.avg_pool_backward(work, self.window, dx)
        dx *= x
        dx *= -2 * self.alpha * self.beta
        xp.power(scale, -self.beta, out=work)
        work *= dy
        dx += work

    def _normalise(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.scale.reshape(*bottom[0].shape)
        x, scale, y = bottom[0].data, self.scale.data, top[0].data
        if not self.is_within_channel:
            self.backend.lrn(x, self.size, self.alpha, self.beta, self.k, scale, y)
            return
        self.backend.xp.multiply(x, x, out=y)
        self.backend.avg_pool(y, self.window, scale)
        scale *= self.alpha
        scale += 1
        self.backend.xp.power(scale, -self.beta, out=y)
        y *= x
