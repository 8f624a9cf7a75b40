"""SoftmaxWithLoss: softmax of the scores, then the negative logarithm of the label's probability.

Formula   L = -1/D * sum log p[label], p = softmax(x) along the axis;  dx = w/D * (p - [class = label]), 0 for
          ignored labels; w = loss weight, D by normalization
Bottoms   x (outer..., C, inner...): scores; label (outer..., inner...): integers in [0, C), as floats
Tops      L (scalar); optional p (like x)
Params    softmax_param { axis = 1: the axis of the classes }
          loss_param { ignore_label: none  normalization = VALID | FULL | BATCH_SIZE | NONE: D = labels that
          count, all labels, outer, 1, but at least 1 }; deprecated: normalize (true VALID, false BATCH_SIZE)
Gradient  exact for the scores; labels have none
Errors    number of labels (reshape); a label that is no class (forward)
Source    Caffe SoftmaxWithLossLayer; the second top, which Caffe's own cannot be given, works here
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nst.core import Arity, Blob, Shape
from nst.core.shapes import canonical_axis
from nst.layers.loss import ClassLabels, Loss, Normalization
from nst.layers.softmax import softmax

_SMALLEST = float(np.finfo(np.float32).tiny)


class SoftmaxWithLoss(Loss):
    type = "SoftmaxWithLoss"
    tops = Arity.between(1, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        axis = self.param.softmax_param.axis
        self.axis = canonical_axis(axis, bottom_shapes[0], layer=self.name)
        self.normalization = Normalization(self.param.loss_param)
        self.probability = self.new_blob()

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        x, labels = bottom_shapes
        ClassLabels(x, self.axis).check(x, labels, self.name)
        return [(), x][: len(self.param.top) or 1]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = self.backend.xp
        self.probability.reshape(*bottom[0].shape)
        softmax(self.backend, bottom[0].data, self.axis, self.probability.data)
        layout = ClassLabels(bottom[0].shape, self.axis)
        ignore = self.normalization.ignore_label
        labels = layout.read(bottom[1], ignore, self.name)
        self.valid = layout.valid(labels, ignore)
        self.index = layout.index(xp, labels, self.valid)
        self.divisor = self.normalization.divisor(layout.outer, layout.inner, int(self.valid.sum()))
        chosen = layout.rows(self.probability.data)[self.index]
        costs = xp.log(xp.maximum(chosen, _SMALLEST)) * self.valid
        top[0].data[...] = -costs.sum(dtype="float64") / self.divisor
        if len(top) > 1:
            top[1].data[...] = self.probability.data

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        self.refuse_labels(propagate_down)
        if not propagate_down[0]:
            return
        dx = ClassLabels(bottom[0].shape, self.axis).rows(bottom[0].diff)
        dx[...] = self.probability.data.reshape(dx.shape)
        dx[self.index] -= 1
        dx *= self.valid[:, None, :]
        dx *= top[0].diff / self.divisor
