"""MultinomialLogisticLoss: negative logarithm of the label's probability, given the probabilities.

Formula   L = -1/N * sum_n log max(p[n, label_n], 1e-20);  dp[n, label_n] = -w / (N * max(p, 1e-20)), else 0
Bottoms   p (N, any...): probabilities, one per class; label (N, 1...): integers, as floats
Tops      L (scalar)
Gradient  exact for the probabilities; labels have none. Behind a softmax use SoftmaxWithLoss: more accurate
Errors    number of labels (reshape); a label that is no class (forward)
Source    Caffe MultinomialLogisticLossLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Shape
from nst.core.shapes import count
from nst.layers.indices import read_indices
from nst.layers.loss import LOG_FLOOR, Loss


class MultinomialLogisticLoss(Loss):
    type = "MultinomialLogisticLoss"

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        if count(bottom_shapes[1]) != bottom_shapes[0][0]:
            raise self.shape_error(
                f"there must be one label per example (got {bottom_shapes[1]} for {bottom_shapes[0]})"
            )
        return super().top_shapes(bottom_shapes)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = self.backend.xp
        batch, classes = bottom[0].shape[0], count(bottom[0].shape, 1)
        p = bottom[0].data.reshape(batch, classes)
        labels = read_indices(bottom[1], classes, layer=self.name).reshape(-1)
        self.index = (xp.arange(batch), labels)
        self.chosen = xp.maximum(p[self.index], LOG_FLOOR)
        top[0].data[...] = -xp.log(self.chosen).sum(dtype="float64") / max(1, batch)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        self.refuse_labels(propagate_down)
        if not propagate_down[0]:
            return
        batch = max(1, bottom[0].shape[0])
        dp = bottom[0].diff.reshape(bottom[0].shape[0], count(bottom[0].shape, 1))
        dp[...] = 0
        dp[self.index] = -(top[0].diff / batch) / self.chosen
