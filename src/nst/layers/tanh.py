"""TanH: the hyperbolic tangent.

Formula   y = tanh x;  dx = dy * (1 - y^2)
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    tanh_param { } - `engine` changes nothing here
Gradient  exact
Source    Caffe TanHLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob
from nst.layers.neuron import Neuron


class TanH(Neuron):
    type = "TanH"

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.backend.xp.tanh(bottom[0].data, out=top[0].data)
        self.remember_output(top[0])

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            y = self.recall_output(top[0])
            self.backend.xp.multiply(top[0].diff, 1 - y * y, out=bottom[0].diff)
