"""ReLU: rectified linear unit, with an optional slope for negative values.

Formula   y = max(x, 0) + s * min(x, 0);  dx = dy * (1 where x > 0, s where x <= 0)
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    relu_param { negative_slope = 0 }; `engine` changes nothing here
Gradient  exact; in place the output stands in for x, which is only right for s >= 0 (as in Caffe)
Source    Caffe ReLULayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Layer, Shape


class ReLU(Layer):
    type = "ReLU"
    allows_in_place = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.negative_slope: float = self.param.relu_param.negative_slope

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [bottom_shapes[0]]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.backend.relu(bottom[0].data, self.negative_slope, top[0].data)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            self.backend.relu_backward(
                top[0].diff, bottom[0].data, self.negative_slope, bottom[0].diff
            )
