"""AbsVal: the absolute value.

Formula   y = |x|;  dx = dy * sign x
Bottoms   x (any shape)
Tops      y (same shape), never x itself (as in Caffe)
Gradient  exact; 0 at x = 0
Source    Caffe AbsValLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob
from nst.layers.neuron import Neuron


class AbsVal(Neuron):
    type = "AbsVal"
    allows_in_place = False

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.backend.xp.absolute(bottom[0].data, out=top[0].data)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            dx = bottom[0].diff
            self.backend.xp.sign(bottom[0].data, out=dx)
            dx *= top[0].diff
