"""Accuracy: share of the predictions whose label is among the best scores.

Formula   right if at most top_k scores are >= the label's (its own included): ties count against it;
          y = right / labels that count, 0 if none does
Bottoms   x (outer..., C, inner...): scores; label (outer..., inner...): integers in [0, C), as floats
Tops      y (scalar); optional (C,): the same for each class alone
Params    accuracy_param { top_k = 1  axis = 1  ignore_label: none }
Gradient  none: asking for one is an error
Errors    number of labels, top_k above C (reshape); a label that is no class (forward)
Source    Caffe AccuracyLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, NotDifferentiable, Shape
from nst.core.shapes import canonical_axis
from nst.layers.loss import ClassLabels


class Accuracy(NotDifferentiable):
    type = "Accuracy"
    bottoms = Arity.exactly(2)
    tops = Arity.between(1, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.accuracy_param
        self.axis = canonical_axis(p.axis, bottom_shapes[0], layer=self.name)
        self.top_k: int = p.top_k
        self.ignore_label: int | None = p.ignore_label if p.HasField("ignore_label") else None

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        x, labels = bottom_shapes
        layout = ClassLabels(x, self.axis)
        if self.top_k > layout.classes:
            raise self.shape_error(
                "top_k must be less than or equal to the number of classes. "
                f"(got {self.top_k}, expected at most {layout.classes})"
            )
        layout.check(x, labels, self.name)
        return [(), (layout.classes,)][: len(self.param.top)]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = self.backend.xp
        layout = ClassLabels(bottom[0].shape, self.axis)
        labels = layout.read(bottom[1], self.ignore_label, self.name)
        valid = layout.valid(labels, self.ignore_label)
        scores = layout.rows(bottom[0].data)
        own = scores[layout.index(xp, labels, valid)]
        at_least_as_good = (scores >= own[:, None, :]).sum(axis=1)
        right = (at_least_as_good <= self.top_k) & valid
        top[0].data[...] = right.sum() / xp.maximum(valid.sum(), 1)
        if len(top) > 1:
            seen = xp.bincount(labels[valid], minlength=layout.classes)
            correct = xp.bincount(labels[right], minlength=layout.classes)
            top[1].data[...] = correct / xp.maximum(seen, 1)
