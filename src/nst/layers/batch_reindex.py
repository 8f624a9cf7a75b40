"""BatchReindex: picks examples of a batch by number; repeats and any order are fine.

Formula   y[i] = x[p[i]];  dx[j] = sum of dy[i] over all i with p[i] = j
Bottoms   x (N, any...); p (M,): integers in [0, N), as floats
Tops      y (M, any...)
Gradient  exact; the numbers have none
Errors    p not one-dimensional (reshape), a number outside the batch (forward)
Source    Caffe BatchReindexLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Layer, Shape
from nst.layers.indices import read_indices


class BatchReindex(Layer):
    type = "BatchReindex"
    bottoms = Arity.exactly(2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        return None

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        x, picks = bottom_shapes
        if len(picks) != 1:
            raise self.shape_error(f"the second bottom must have 1 axis (got {picks})")
        return [(*picks, *x[1:])]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.picks = read_indices(bottom[1], bottom[0].shape[0], layer=self.name)
        top[0].data[...] = bottom[0].data[self.picks]

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[1]:
            raise self.net_error("Cannot backprop to index. It holds integers")
        if propagate_down[0]:
            bottom[0].diff[...] = 0
            self.backend.xp.add.at(bottom[0].diff, self.picks, top[0].diff)

    def allows_force_backward(self, bottom_index: int) -> bool:
        return bottom_index == 0
