"""Sigmoid: the logistic function.

Formula   y = 1 / (1 + exp(-x)), computed as tanh(x / 2) / 2 + 1/2;  dx = dy * y * (1 - y)
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    sigmoid_param { } - `engine` changes nothing here
Gradient  exact
Source    Caffe SigmoidLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array, Backend
from nst.core import Blob
from nst.layers.neuron import Neuron


class Sigmoid(Neuron):
    type = "Sigmoid"

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        sigmoid(self.backend, bottom[0].data, top[0].data)
        self.remember_output(top[0])

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            y = self.recall_output(top[0])
            self.backend.xp.multiply(top[0].diff, y * (1 - y), out=bottom[0].diff)


def sigmoid(backend: Backend, x: Array, out: Array) -> None:
    """out = 1 / (1 + exp(-x)) without overflow; out may be x. Shared with the layers that contain one."""
    backend.xp.multiply(x, 0.5, out=out)
    backend.xp.tanh(out, out=out)
    out *= 0.5
    out += 0.5
