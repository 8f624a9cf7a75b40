"""Scalar: multiplies every value by one constant, or adds one.

Formula   MUL: y = v * x, dx = v * dy;  ADD: y = x + v, dx = dy
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    scalar_param { value = 1: v  operation = MUL | ADD  passthrough_gradient = false }
Gradient  exact, unless passthrough_gradient: then dx = dy (MyCaffe's style procedure)
Source    MyCaffe ScalarLayer, whose default backward (1/v, -v) is not a derivative and is not kept
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Shape
from nst.layers.neuron import Neuron
from nst.proto import ScalarParameter


class Scalar(Neuron):
    type = "Scalar"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.scalar_param
        self.value: float = p.value
        self.multiplies = p.operation == ScalarParameter.MUL
        self.scales_gradient = self.multiplies and not p.passthrough_gradient

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        combine = self.backend.xp.multiply if self.multiplies else self.backend.xp.add
        combine(bottom[0].data, self.value, out=top[0].data)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            factor = self.value if self.scales_gradient else 1.0
            self.backend.xp.multiply(top[0].diff, factor, out=bottom[0].diff)
