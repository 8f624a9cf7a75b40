"""SigmoidCrossEntropyLoss: independent yes-or-no questions, each with a target probability.

Formula   L = -1/D * sum t log s + (1 - t) log(1 - s), s = 1 / (1 + exp(-x));  dx = w/D * (s - t), 0 where
          ignored; w = loss weight, D by normalization
Bottoms   x (N, any...): logits; t (same count): targets in [0, 1]
Tops      L (scalar)
Params    loss_param { ignore_label: targets of this integer value cost nothing
          normalization = BATCH_SIZE | VALID | FULL | NONE: D = N, values that count, all values, 1, at least
          1 }; deprecated: normalize (true VALID, false BATCH_SIZE)
Gradient  exact for the logits; targets have none
Errors    different counts (reshape)
Source    Caffe SigmoidCrossEntropyLossLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Shape
from nst.core.shapes import count
from nst.layers.loss import Loss, Normalization
from nst.layers.sigmoid import sigmoid
from nst.proto import LossParameter


class SigmoidCrossEntropyLoss(Loss):
    type = "SigmoidCrossEntropyLoss"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.normalization = Normalization(self.param.loss_param, LossParameter.BATCH_SIZE)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        x, target = bottom_shapes
        if count(x) != count(target):
            raise self.shape_error(
                "SIGMOID_CROSS_ENTROPY_LOSS layer inputs must have the same count. "
                f"(got {x} and {target})"
            )
        return super().top_shapes(bottom_shapes)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = self.backend.xp
        x = bottom[0].data
        target = bottom[1].data.reshape(x.shape)
        costs = xp.maximum(x, 0)
        costs -= x * target
        costs += xp.log1p(xp.exp(-xp.absolute(x)))
        counted = x.size
        self.valid = None
        if self.normalization.ignore_label is not None:
            self.valid = target.astype("int64") != self.normalization.ignore_label
            costs *= self.valid
            counted = int(self.valid.sum())
        outer = bottom[0].shape[0] if bottom[0].shape else 1
        self.divisor = self.normalization.divisor(outer, x.size // max(1, outer), counted)
        top[0].data[...] = costs.sum(dtype="float64") / self.divisor

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        self.refuse_labels(propagate_down, "target")
        if not propagate_down[0]:
            return
        dx = bottom[0].diff
        sigmoid(self.backend, bottom[0].data, dx)
        dx -= bottom[1].data.reshape(dx.shape)
        if self.valid is not None:
            dx *= self.valid
        dx *= top[0].diff / self.divisor
