"""Crop: cuts the first bottom to the size of the second.

Formula   y = x[offset : offset + size] along every axis from `axis` on;  dx = dy inside the cut, 0 outside
Bottoms   x (any shape); reference (as many axes): only its shape is read
Tops      y: x.shape with the reference's extents from `axis` on
Params    crop_param { axis = 2 (negative counts from the end)  offset = 0: one for all, or one per cut axis }
Gradient  exact; the reference's is 0
Errors    number of offsets (setup); a cut that leaves the bottom (reshape)
Source    Caffe CropLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import canonical_axis


class Crop(Layer):
    type = "Crop"
    bottoms = Arity.exactly(2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.crop_param
        shape = bottom_shapes[0]
        self.axis = canonical_axis(p.axis, shape, layer=self.name)
        cut = len(shape) - self.axis
        offsets = list(p.offset) or [0]
        if len(offsets) not in (1, cut):
            raise self.net_error(
                "number of offset values specified must be equal to the number of dimensions "
                f"following axis. (got {len(offsets)}, expected 1 or {cut})"
            )
        self.offsets = offsets * cut if len(offsets) == 1 else offsets

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        x, reference = bottom_shapes
        if len(x) != self.axis + len(self.offsets) or len(reference) != len(x):
            raise self.shape_error(
                f"both bottoms need the same number of axes (got {x} and {reference})"
            )
        sizes = reference[self.axis :]
        for axis, (offset, size) in enumerate(zip(self.offsets, sizes, strict=True), self.axis):
            if offset + size > x[axis]:
                raise self.shape_error(
                    f"the crop for dimension {axis} is out-of-bounds "
                    f"(got offset {offset} and size {size}, expected at most {x[axis]} together)"
                )
        return [(*x[: self.axis], *sizes)]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data[...] = bottom[0].data[self._cut(top[0].shape)]

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            dx = bottom[0].diff
            dx[...] = 0
            dx[self._cut(top[0].shape)] = top[0].diff
        if propagate_down[1]:
            bottom[1].diff[...] = 0

    def _cut(self, top_shape: Shape) -> tuple[slice, ...]:
        kept = (slice(None),) * self.axis
        sizes = top_shape[self.axis :]
        return (*kept, *(slice(o, o + n) for o, n in zip(self.offsets, sizes, strict=True)))
