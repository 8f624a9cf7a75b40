"""EuclideanLoss: half the mean squared distance of two blobs.

Formula   L = 1/(2N) * sum (a - b)^2;  da = w/N * (a - b), db = -da, with N = a.shape[0], w = loss weight
Bottoms   a, b: same N, same count from axis 1 on
Tops      L (scalar)
Gradient  exact, for both bottoms
Errors    different N or count (reshape)
Source    Caffe EuclideanLossLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import count


class EuclideanLoss(Layer):
    type = "EuclideanLoss"
    bottoms = Arity.exactly(2)
    is_loss = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.difference = self.new_blob()

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        a, b = bottom_shapes
        if a[:1] != b[:1]:
            raise self.shape_error(
                f"The data and label should have the same first dimension. (got {a} and {b})"
            )
        if count(a, 1) != count(b, 1):
            raise self.shape_error(f"Inputs must have the same dimension. (got {a} and {b})")
        return [()]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a, b = bottom[0].data, bottom[1].data
        self.difference.reshape(*bottom[0].shape)
        difference = self.difference.data
        self.backend.xp.subtract(a, b.reshape(a.shape), out=difference)
        top[0].data[...] = self.backend.dot(difference, difference) / (2 * _batch(bottom[0]))

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        difference = self.difference.data
        for sign, wanted, blob in zip((1, -1), propagate_down, bottom, strict=True):
            if wanted:
                scale = sign * top[0].diff / _batch(bottom[0])
                dx = blob.diff.reshape(difference.shape)
                self.backend.xp.multiply(difference, scale, out=dx)


def _batch(blob: Blob) -> int:
    return max(1, blob.shape[0]) if blob.shape else 1
