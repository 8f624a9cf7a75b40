"""Split: gives one blob to several readers and sums their gradients; inserted by the net builder.

Formula   y_i = x (the same memory, not a copy);  dx = sum_i dy_i
Bottoms   x (any shape)
Tops      y_i (same shape), one per reader
Gradient  exact
Source    Caffe SplitLayer, insert_splits.cpp
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Layer, Shape


class Split(Layer):
    type = "Split"
    tops = Arity.at_least(1)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        return None

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [bottom_shapes[0]] * self.top_count

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob in top:
            blob.reshape(*bottom[0].shape)
            blob.share_data(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob in top:
            blob.share_data(bottom[0])  # the bottom may have moved to new memory since

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        dx = bottom[0].diff
        dx[...] = top[0].diff
        for blob in top[1:]:
            dx += blob.diff

    @property
    def top_count(self) -> int:
        return len(self.param.top)
