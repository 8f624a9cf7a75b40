"""InfogainLoss: softmax, then a logarithmic loss in which every pair of classes has its own gain.

Formula   L = -1/D * sum_k H[label, k] log max(p_k, 1e-20), p = softmax(x) along the axis
          dx_k = w/D * (p_k * sum_j H[label, j] - H[label, k]), 0 for ignored labels; w = loss weight
Bottoms   x (outer..., C, inner...): scores; label (outer..., inner...): integers in [0, C), as floats;
          optional H (1, 1, C, C): gains
Tops      L (scalar); optional p (like x)
Params    infogain_loss_param { source: binaryproto file of H, unless H is a bottom  axis = 1 }
          loss_param { ignore_label: none  normalization = VALID | FULL | BATCH_SIZE | NONE: D = labels that
          count, all labels, outer, 1, but at least 1 }; deprecated: normalize (true VALID, false BATCH_SIZE)
Gradient  exact for the scores; labels and H have none
Errors    no H, a file that is no blob (setup); number of labels, size of H (reshape); a label that is no
          class (forward)
Source    Caffe InfogainLossLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Arity, Blob, Shape
from nst.core.shapes import canonical_axis, count
from nst.layers.loss import LOG_FLOOR, ClassLabels, Loss, Normalization
from nst.layers.softmax import softmax
from nst.layers.sources.blob_file import read_blob_file


class InfogainLoss(Loss):
    type = "InfogainLoss"
    bottoms = Arity.between(2, 3)
    tops = Arity.between(1, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.infogain_loss_param
        self.axis = canonical_axis(p.axis, bottom_shapes[0], layer=self.name)
        self.normalization = Normalization(self.param.loss_param)
        self.probability = self.new_blob()
        self.stored = self.new_blob()
        if len(bottom_shapes) < 3:
            if not p.HasField("source"):
                raise self.net_error(
                    "Infogain matrix source must be specified. (got no third bottom)"
                )
            values = read_blob_file(p.source)
            self.stored.reshape(*values.shape)
            self.stored.data[...] = self.backend.asarray(values, self.stored.dtype)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        x, labels = bottom_shapes[:2]
        layout = ClassLabels(x, self.axis)
        layout.check(x, labels, self.name)
        gains = bottom_shapes[2] if len(bottom_shapes) > 2 else self.stored.shape
        if count(gains) != layout.classes**2:
            raise self.shape_error(
                f"the gains must be a square of the classes (got {gains}, expected "
                f"{(1, 1, layout.classes, layout.classes)})"
            )
        return [(), x][: len(self.param.top) or 1]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = self.backend.xp
        self.probability.reshape(*bottom[0].shape)
        softmax(self.backend, bottom[0].data, self.axis, self.probability.data)
        layout = ClassLabels(bottom[0].shape, self.axis)
        ignore = self.normalization.ignore_label
        labels = layout.read(bottom[1], ignore, self.name)
        self.valid = layout.valid(labels, ignore)[:, None, :]  # (outer, 1, inner)
        self.gains = self._gains(bottom, labels * self.valid[:, 0], layout)
        self.divisor = self.normalization.divisor(layout.outer, layout.inner, int(self.valid.sum()))
        logs = xp.log(xp.maximum(layout.rows(self.probability.data), LOG_FLOOR))
        logs *= self.gains
        logs *= self.valid
        top[0].data[...] = -logs.sum(dtype="float64") / self.divisor
        if len(top) > 1:
            top[1].data[...] = self.probability.data

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        self.refuse_labels(propagate_down, "label and infogain")
        if not propagate_down[0]:
            return
        dx = ClassLabels(bottom[0].shape, self.axis).rows(bottom[0].diff)
        p = self.probability.data.reshape(dx.shape)
        self.backend.xp.multiply(p, self.gains.sum(axis=1, keepdims=True), out=dx)
        dx -= self.gains
        dx *= self.valid
        dx *= top[0].diff / self.divisor

    def allows_force_backward(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def _gains(self, bottom: Sequence[Blob], labels: Array, layout: ClassLabels) -> Array:
        """The row of H for every label, laid out like the scores: (outer, classes, inner)."""
        matrix = (bottom[2] if len(bottom) > 2 else self.stored).data
        rows = matrix.reshape(layout.classes, layout.classes)[labels]  # (outer, inner, classes)
        return rows.transpose(0, 2, 1)
