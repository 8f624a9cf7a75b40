"""Reshape: the same values in another shape.

Formula   y = x with `num_axes` axes from `axis` on replaced by `shape`;  dx = dy in the old shape
Bottoms   x (any shape)
Tops      y, never x itself (as in Caffe): same count
Params    reshape_param { shape { dim: 0 copies the bottom's extent at that place, one -1 takes what is left }
          axis = 0 (negative counts from after the last: -1 appends)  num_axes = -1 (all to the last) }
Gradient  exact
Errors    two -1 (setup); axis or num_axes out of range, a 0 with nothing to copy, a count that does not
          divide or fit (reshape)
Source    Caffe ReshapeLayer, which shares memory with the bottom where this one copies
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Layer, Shape
from nst.core.shapes import count


class Reshape(Layer):
    type = "Reshape"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.reshape_param
        self.dims: Shape = tuple(p.shape.dim)
        self.axis: int = p.axis
        self.num_axes: int = p.num_axes
        if any(size < -1 for size in self.dims):
            raise self.net_error(f"negative size (got shape {self.dims}, expected >= -1)")
        if self.dims.count(-1) > 1:
            raise self.net_error(
                "new shape contains multiple -1 dims; at most a single (1) value of -1 may be "
                f"specified (got {self.dims})"
            )
        if self.num_axes < -1:
            raise self.net_error(f"num_axes must be >= 0, or -1 for all (got {self.num_axes})")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        start, end = self._replaced(shape)
        middle = [self._size(i, size, shape, start) for i, size in enumerate(self.dims)]
        if -1 in middle:
            known = count(shape[:start]) * count(shape[end:])
            known *= count([size for size in middle if size != -1])
            if known == 0 or count(shape) % known:
                raise self.shape_error(
                    f"bottom count ({count(shape)}) must be divisible by the product of the "
                    f"specified dimensions ({known}) (got bottom {shape}, shape {self.dims})"
                )
            middle[middle.index(-1)] = count(shape) // known
        result = (*shape[:start], *middle, *shape[end:])
        if count(result) != count(shape):
            raise self.shape_error(
                f"output count must match input count (got {count(result)} for shape {result}, "
                f"expected {count(shape)} of bottom {shape})"
            )
        return [result]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data[...] = bottom[0].data.reshape(top[0].shape)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff.reshape(bottom[0].shape)

    def _replaced(self, shape: Shape) -> tuple[int, int]:
        """First axis replaced and first axis after them."""
        rank = len(shape)
        start = self.axis if self.axis >= 0 else rank + self.axis + 1
        end = rank if self.num_axes == -1 else start + self.num_axes
        if not 0 <= start <= rank:
            raise self.shape_error(f"axis {self.axis} out of range (got bottom {shape})")
        if end > rank:
            raise self.shape_error(
                f"end_axis = axis + num_axes is out of range (got {end}, bottom {shape})"
            )
        return start, end

    def _size(self, index: int, size: int, shape: Shape, start: int) -> int:
        if size != 0:
            return size
        if start + index >= len(shape):
            raise self.shape_error(
                "new shape contains a 0, but there was no corresponding bottom axis to copy "
                f"(got shape {self.dims} from axis {start} of bottom {shape})"
            )
        return shape[start + index]
