"""Clip: limits values to a range.

Formula   y = min(max(x, lo), hi);  dx = dy where lo <= x <= hi, else 0
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    clip_param { min: lo  max: hi }, both must be given
Gradient  exact; in place a copy of x is kept (Caffe lets every gradient through)
Errors    min or max missing, min > max (setup; Caffe takes missing ones as 0)
Source    Caffe ClipLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Shape
from nst.layers.neuron import Neuron


class Clip(Neuron):
    type = "Clip"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.clip_param
        missing = [name for name in ("min", "max") if not p.HasField(name)]
        if missing:
            raise self.net_error(
                f"clip_param needs both ends of the range (got no {' and no '.join(missing)}, "
                "expected min and max)"
            )
        if p.min > p.max:
            raise self.net_error(f"clip_param range is empty (got min {p.min} > max {p.max})")
        self.low: float = p.min
        self.high: float = p.max

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self.remember(bottom[0], top[0])
        self.backend.xp.clip(x, self.low, self.high, out=top[0].data)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            x = self.recall(bottom[0])
            inside = (x >= self.low) & (x <= self.high)
            self.backend.xp.multiply(top[0].diff, inside, out=bottom[0].diff)
