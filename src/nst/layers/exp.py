"""Exp: the exponential to any base.

Formula   y = base^(shift + scale * x);  dx = dy * y * scale * ln base
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    exp_param { base = -1 (e)  scale = 1  shift = 0 }; base positive, or -1 for e
Gradient  exact
Errors    any other base (setup)
Source    Caffe ExpLayer
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nst.core import Blob, Shape
from nst.layers.neuron import Neuron


class Exp(Neuron):
    type = "Exp"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.exp_param
        if p.base != -1 and p.base <= 0:
            raise self.net_error(f"base must be strictly positive. (got {p.base}, or -1 for e)")
        log_base = 1.0 if p.base == -1 else math.log(p.base)
        self.inner = log_base * p.scale
        self.outer = math.exp(log_base * p.shift)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = top[0].data
        self.backend.xp.multiply(bottom[0].data, self.inner, out=y)
        self.backend.xp.exp(y, out=y)
        if self.outer != 1:
            y *= self.outer
        self.remember_output(top[0])

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            dx = bottom[0].diff
            self.backend.xp.multiply(top[0].diff, self.recall_output(top[0]), out=dx)
            dx *= self.inner
