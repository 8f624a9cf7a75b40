"""Silence: reads blobs that nobody else wants, so that they are no outputs of the net.

Formula   dx = 0
Bottoms   one or more, any shapes
Tops      none
Gradient  exact: nothing depends on the bottoms
Source    Caffe SilenceLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Layer, Shape


class Silence(Layer):
    type = "Silence"
    bottoms = Arity.at_least(1)
    tops = Arity.exactly(0)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        return None

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return []

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        return None

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        for wanted, blob in zip(propagate_down, bottom, strict=True):
            if wanted:
                blob.diff[...] = 0
