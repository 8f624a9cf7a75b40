"""ELU: exponential linear unit.

Formula   y = max(x, 0) + alpha * (exp(min(x, 0)) - 1);  dx = dy * (1 where x > 0, else alpha * exp x)
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    elu_param { alpha = 1 }
Gradient  exact
Source    Clevert et al. 2015 (arXiv 1511.07289); Caffe ELULayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Shape
from nst.layers.neuron import Neuron


class ELU(Neuron):
    type = "ELU"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.alpha: float = self.param.elu_param.alpha

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = self.backend.xp
        x = self.remember(bottom[0], top[0])
        below = xp.expm1(xp.minimum(x, 0))
        below *= self.alpha
        xp.maximum(x, 0, out=top[0].data)
        top[0].data[...] += below

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            xp = self.backend.xp
            x = self.recall(bottom[0])
            slope = xp.where(x > 0, 1, self.alpha * xp.exp(xp.minimum(x, 0)))
            xp.multiply(top[0].diff, slope, out=bottom[0].diff)
