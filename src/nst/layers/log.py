"""Log: the logarithm to any base.

Formula   y = log_base(shift + scale * x);  dx = dy * scale / (ln base * (shift + scale * x))
Bottoms   x (any shape), shift + scale * x > 0
Tops      y (same shape), may be x itself
Params    log_param { base = -1 (e)  scale = 1  shift = 0 }; base positive and not 1, or -1 for e
Gradient  exact
Errors    any other base (setup)
Source    Caffe LogLayer
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Shape
from nst.layers.neuron import Neuron


class Log(Neuron):
    type = "Log"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.log_param
        if p.base != -1 and (p.base <= 0 or p.base == 1):
            raise self.net_error(
                f"base must be strictly positive and not 1. (got {p.base}, or -1 for e)"
            )
        self.log_base = 1.0 if p.base == -1 else math.log(p.base)
        self.scale: float = p.scale
        self.shift: float = p.shift

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = top[0].data
        self._argument(self.remember(bottom[0], top[0]), y)
        self.backend.xp.log(y, out=y)
        if self.log_base != 1:
            y /= self.log_base

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            argument = self.backend.xp.empty_like(bottom[0].diff)
            self._argument(self.recall(bottom[0]), argument)
            dx = bottom[0].diff
            self.backend.xp.divide(top[0].diff, argument, out=dx)
            dx *= self.scale / self.log_base

    def _argument(self, x: Array, out: Array) -> None:
        """out = shift + scale * x"""
        self.backend.xp.multiply(x, self.scale, out=out)
        out += self.shift
