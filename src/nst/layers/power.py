"""Power: shifts, scales and raises to a power.

Formula   y = (shift + scale * x)^power;  dx = dy * power * scale * (shift + scale * x)^(power - 1)
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    power_param { power = 1  scale = 1  shift = 0 }
Gradient  exact; where the base is 0 it is the power's own value (Caffe divides by it and gives NaN)
Source    Caffe PowerLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Shape
from nst.layers.neuron import Neuron


class Power(Neuron):
    type = "Power"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.power_param
        self.power: float = p.power
        self.scale: float = p.scale
        self.shift: float = p.shift
        self.slope = self.power * self.scale
        """Factor of the gradient; with 0 the layer is a constant and does not look at x."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = top[0].data
        if self.slope == 0:
            y[...] = 1.0 if self.power == 0 else self.shift**self.power
            return
        needs_x = self.power != 1
        x = self.remember(bottom[0], top[0]) if needs_x else bottom[0].data
        self._base(x, y)
        if self.power != 1:
            self.backend.xp.power(y, self.power, out=y)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        if self.power == 1 or self.slope == 0:
            self.backend.xp.multiply(dy, self.slope, out=dx)
            return
        base = self.backend.xp.empty_like(dx)
        self._base(self.recall(bottom[0]), base)
        self.backend.xp.power(base, self.power - 1, out=base)
        base *= self.slope
        self.backend.xp.multiply(dy, base, out=dx)

    def _base(self, x: Array, out: Array) -> None:
        """out = shift + scale * x"""
        self.backend.xp.multiply(x, self.scale, out=out)
        out += self.shift
