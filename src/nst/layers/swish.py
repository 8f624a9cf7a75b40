"""Swish: the value times its own sigmoid.

Formula   y = x * s, s = 1 / (1 + exp(-beta * x));  dx = dy * (s + beta * y * (1 - s))
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    swish_param { beta = 1 }
Gradient  exact
Source    Ramachandran et al. 2017 (arXiv 1710.05941); Caffe SwishLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Shape
from nst.layers.neuron import Neuron
from nst.layers.sigmoid import sigmoid


class Swish(Neuron):
    type = "Swish"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.beta: float = self.param.swish_param.beta

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self.remember(bottom[0], top[0])
        self.backend.xp.multiply(x, self._gate(x), out=top[0].data)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            x = self.recall(bottom[0])
            gate = self._gate(x)
            slope = gate + self.beta * x * gate * (1 - gate)
            self.backend.xp.multiply(top[0].diff, slope, out=bottom[0].diff)

    def _gate(self, x: Array) -> Array:
        gate = self.beta * x
        sigmoid(self.backend, gate, gate)
        return gate
