"""BNLL: binomial normal log likelihood, a smooth rectifier.

Formula   y = log(1 + exp x) = max(x, 0) + log(1 + exp(-|x|));  dx = dy / (1 + exp(-x))
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Gradient  exact
Source    Caffe BNLLLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob
from nst.layers.neuron import Neuron


class BNLL(Neuron):
    type = "BNLL"

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = self.backend.xp
        x = self.remember(bottom[0], top[0])
        tail = xp.log1p(xp.exp(-xp.absolute(x)))
        xp.maximum(x, 0, out=top[0].data)
        top[0].data[...] += tail

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        xp = self.backend.xp
        x = self.recall(bottom[0])
        small = xp.exp(-xp.absolute(x))  # in (0, 1]: never overflows
        slope = xp.where(x > 0, 1, small) / (1 + small)
        xp.multiply(top[0].diff, slope, out=bottom[0].diff)
