"""ReLU: rectified linear unit, with an optional slope for negative values.

Formula   y = max(x, 0) + s * min(x, 0);  dx = dy * (1 where x > 0, s where x <= 0)
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    relu_param { negative_slope = 0: s }; `engine` changes nothing here
Gradient  exact; in place y stands in for x, whose sign it has. With s < 0 it has not, and a later layer in
          place may change it: then a copy of x is kept (Caffe goes wrong)
Source    Caffe ReLULayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Shape
from nst.layers.neuron import Neuron


class ReLU(Neuron):
    type = "ReLU"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.negative_slope: float = self.param.relu_param.negative_slope

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        sign_is_lost = self.negative_slope < 0 or self.top_is_overwritten
        x = self.remember(bottom[0], top[0]) if sign_is_lost else bottom[0].data
        self.backend.relu(x, self.negative_slope, top[0].data)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            x = self.recall(bottom[0])
            self.backend.relu_backward(top[0].diff, x, self.negative_slope, bottom[0].diff)
