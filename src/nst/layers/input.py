"""Input: the net's boundary; its tops are filled from outside.

Tops      one or more, of the given shapes
Params    input_param { shape }: none (the user reshapes the blobs), one for all tops, or one per top
Gradient  none is needed: the diffs of the tops hold it
Errors    any other number of shapes, a negative size (setup)
Source    Caffe InputLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Layer, Shape


class Input(Layer):
    type = "Input"
    bottoms = Arity.exactly(0)
    tops = Arity.at_least(1)
    is_source = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.shapes = [tuple(shape.dim) for shape in self.param.input_param.shape]
        tops = len(self.param.top)
        if len(self.shapes) not in (0, 1, tops):
            raise self.net_error(
                f"Must specify 'shape' once, once per top blob, or not at all: {tops} tops vs. "
                f"{len(self.shapes)} shapes."
            )
        for shape in self.shapes:
            if any(size < 0 for size in shape):
                raise self.shape_error(f"negative size (got shape {shape}, expected all >= 0)")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        tops = len(self.param.top)
        return self.shapes * tops if len(self.shapes) == 1 else self.shapes

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Shapes the tops once; afterwards they belong to the user."""
        for blob, shape in zip(top, self.top_shapes(()), strict=False):
            blob.reshape(*shape)
        self.shapes = []

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        return None

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        return None
