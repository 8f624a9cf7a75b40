"""Softmax: positive values that sum to one along an axis.

Formula   y = exp(x - max x) / sum exp(x - max x);  dx = y * (dy - sum dy * y), sums along the axis
Bottoms   x (any shape): scores
Tops      y (same shape), may be x itself: probabilities
Params    softmax_param { axis = 1 }; `engine` changes nothing here
Gradient  exact
Errors    axis out of range (setup)
Source    Caffe SoftmaxLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array, Backend
from nst.core import Blob, Shape
from nst.core.shapes import canonical_axis
from nst.layers.neuron import Neuron


class Softmax(Neuron):
    type = "Softmax"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.axis = canonical_axis(self.param.softmax_param.axis, bottom_shapes[0], layer=self.name)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        softmax(self.backend, bottom[0].data, self.axis, top[0].data)
        self.remember_output(top[0])

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        y, dy = self.recall_output(top[0]), top[0].diff
        mean = (dy * y).sum(axis=self.axis, keepdims=True)
        dx = bottom[0].diff
        self.backend.xp.subtract(dy, mean, out=dx)
        dx *= y


def softmax(backend: Backend, x: Array, axis: int, out: Array) -> None:
    """out = softmax of x along the axis; out may be x. Shared with the losses that begin with one."""
    backend.xp.subtract(x, x.max(axis=axis, keepdims=True), out=out)
    backend.xp.exp(out, out=out)
    out /= out.sum(axis=axis, keepdims=True)
