"""HingeLoss: one-versus-all margins.

Formula   L = 1/N * sum_k m_k^p, m_k = max(0, 1 - s_k x_k), s_k = 1 for the label's class, else -1; p = 1 or 2
          dx_k = -w/N * s_k * (1 where m_k > 0 | 2 m_k)
Bottoms   x (N, any...): scores, one per class; label (N, 1...): integers, as floats
Tops      L (scalar)
Params    hinge_loss_param { norm = L1 | L2 }
Gradient  exact for the scores; labels have none
Errors    different batch sizes (reshape); a label that is no class (forward)
Source    Caffe HingeLossLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Shape
from nst.core.shapes import count
from nst.layers.indices import read_indices
from nst.layers.loss import Loss
from nst.proto import HingeLossParameter


class HingeLoss(Loss):
    type = "HingeLoss"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.squares = self.param.hinge_loss_param.norm == HingeLossParameter.L2

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        if count(bottom_shapes[1]) != bottom_shapes[0][0]:
            raise self.shape_error(
                f"there must be one label per example (got {bottom_shapes[1]} for {bottom_shapes[0]})"
            )
        return super().top_shapes(bottom_shapes)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = self.backend.xp
        batch = bottom[0].shape[0]
        classes = count(bottom[0].shape, 1)
        margins = bottom[0].data.reshape(batch, classes).copy()
        labels = read_indices(bottom[1], classes, layer=self.name).reshape(-1)
        self.label_index = (xp.arange(batch), labels)
        margins[self.label_index] *= -1
        margins += 1
        self.margins = xp.maximum(margins, 0, out=margins)
        if self.squares:
            total = self.backend.dot(self.margins, self.margins)
        else:
            total = self.margins.sum(dtype="float64")
        top[0].data[...] = total / max(1, batch)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        self.refuse_labels(propagate_down)
        if not propagate_down[0]:
            return
        dx = bottom[0].diff.reshape(self.margins.shape)
        dx[...] = 2 * self.margins if self.squares else self.margins > 0
        dx[self.label_index] *= -1
        dx *= top[0].diff / max(1, bottom[0].shape[0])
