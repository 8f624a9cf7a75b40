"""Scalar: multiplies or shifts every value by one constant.

Formula   MUL: y = v * x, dx = v * dy;  ADD: y = x + v, dx = dy
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    scalar_param { value = 1  operation = MUL | ADD  passthrough_gradient = false }
Gradient  exact, unless passthrough_gradient: then dx = dy (MyCaffe's style procedure)
Source    MyCaffe ScalarLayer, whose default backward (1/v, -v) is not a derivative and is not kept
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Layer, Shape
from nst.proto import ScalarParameter


class Scalar(Layer):
    type = "Scalar"
    allows_in_place = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.scalar_param
        self.value: float = p.value
        self.multiplies = p.operation == ScalarParameter.MUL
        self.passes_gradient: bool = p.passthrough_gradient

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [bottom_shapes[0]]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        top[0].data[...] = x * self.value if self.multiplies else x + self.value

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            scales = self.multiplies and not self.passes_gradient
            bottom[0].diff[...] = top[0].diff * (self.value if scales else 1.0)
