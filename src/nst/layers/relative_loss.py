"""RelativeLoss: squared distance from a target, measured by the target's own size.

Formula   L = 1/N sum_n |a_n - b_n|^2 / |b_n|^2;  da = 2/N (a_n - b_n) / |b_n|^2
          1 means: as far from the target as all zeros are. A target of zeros counts as of size 1
Bottoms   a, the target b: same N, same count from axis 1 on
Tops      L (scalar)
Gradient  exact with respect to a; the target receives none
Errors    different N or count (reshape); a gradient for the target is asked for (backward)
Source    own: a content or style term that needs no weight of its own for each net, layer and size
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Shape
from nst.core.shapes import count
from nst.layers.loss import Loss


class RelativeLoss(Loss):
    type = "RelativeLoss"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.difference = self.new_blob()
        self.factors: list[float] = []

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        self.check_batch(bottom_shapes)
        a, b = bottom_shapes
        if count(a) != count(b):
            raise self.shape_error(f"bottom and target differ in count (got {a} and {b})")
        return [()]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a, b, dot = bottom[0].data, bottom[1].data.reshape(bottom[0].shape), self.backend.dot
        self.difference.reshape(*a.shape)
        difference = self.difference.data
        self.backend.xp.subtract(a, b, out=difference)
        self.factors = [1 / (dot(item, item) or 1.0) / len(b) for item in b]
        pairs = zip(self.factors, difference, strict=True)
        top[0].data[...] = sum(factor * dot(d, d) for factor, d in pairs)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        self.refuse_labels(propagate_down, "target")
        if propagate_down[0]:
            for factor, d, da in zip(
                self.factors, self.difference.data, bottom[0].diff, strict=True
            ):
                self.backend.xp.multiply(d, 2 * factor * top[0].diff, out=da)
