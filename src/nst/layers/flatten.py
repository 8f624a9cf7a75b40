"""Flatten: merges a run of axes into one.

Formula   y = x with axes `axis` to `end_axis` as one axis;  dx = dy with the axes apart again
Bottoms   x (any shape)
Tops      y, never x itself (as in Caffe)
Params    flatten_param { axis = 1  end_axis = -1 (included; negative counts from the end) }
Gradient  exact
Errors    an axis out of range, end_axis before axis (reshape)
Source    Caffe FlattenLayer, which shares memory with the bottom where this one copies
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Layer, Shape
from nst.core.shapes import canonical_axis, count


class Flatten(Layer):
    type = "Flatten"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.first: int = self.param.flatten_param.axis
        self.last: int = self.param.flatten_param.end_axis

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        first = canonical_axis(self.first, shape, layer=self.name)
        last = canonical_axis(self.last, shape, layer=self.name)
        if last < first:
            raise self.shape_error(
                f"end_axis lies before axis (got axis {first}, end_axis {last} of bottom {shape})"
            )
        return [(*shape[:first], count(shape, first, last + 1), *shape[last + 1 :])]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data[...] = bottom[0].data.reshape(top[0].shape)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff.reshape(bottom[0].shape)
