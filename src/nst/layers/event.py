"""Event: passes the feature forward and lets back only the gradients that matter.

Formula   y = x;  dx = gate * dy
          FEATURE_POSITIVE: gate = 1 where x > 0 (Gatys: dE/dF is 0 where F <= 0; behind a ReLU exact)
          TARGET_NONZERO:   gate = 1 where target != 0 (MyCaffe's handler)
          NONE:             gate = 1
Bottoms   x (any shape): the generated feature or Gram; optional target (same count)
Tops      y (like x)
Params    event_param { gate = FEATURE_POSITIVE | TARGET_NONZERO | NONE }
Gradient  masked by the gate: the derivative only where the gate is 1. The target never receives one
Errors    TARGET_NONZERO without a target (setup); counts that differ (reshape)
Source    MyCaffe EventLayer and NeuralStyleTransfer's OnBackward handler; Gatys 2015 eq. 2 and 6
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import count
from nst.proto import EventParameter


class Event(Layer):
    type = "Event"
    bottoms = Arity.between(1, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.gate: int = self.param.event_param.gate
        if self.gate == EventParameter.TARGET_NONZERO and len(bottom_shapes) < 2:
            raise self.net_error("gate TARGET_NONZERO needs a second bottom, the target (got 1)")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        if len(bottom_shapes) == 2 and count(bottom_shapes[0]) != count(bottom_shapes[1]):
            raise self.shape_error(
                "feature and target must have the same count "
                f"(got {bottom_shapes[0]} and {bottom_shapes[1]})"
            )
        return [bottom_shapes[0]]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data[...] = bottom[0].data

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        if self.gate == EventParameter.FEATURE_POSITIVE:
            self.backend.relu_backward(dy, bottom[0].data, 0.0, dx)  # dy where x > 0
        elif self.gate == EventParameter.TARGET_NONZERO:
            target = bottom[1].data.reshape(dy.shape)
            self.backend.xp.multiply(dy, target != 0, out=dx)
        else:
            dx[...] = dy

    def allows_force_backward(self, bottom_index: int) -> bool:
        return bottom_index == 0
