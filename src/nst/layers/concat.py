"""Concat: joins its bottoms along one axis.

Formula   y = [x_0, x_1, ...] along the axis;  dx_i = the slice of dy that came from x_i
Bottoms   x_i, one or more: same shape except along the axis
Tops      y: extent along the axis = sum of the bottoms'
Params    concat_param { axis = 1 (negative counts from the end) }; deprecated: concat_dim
Gradient  exact
Errors    axis and concat_dim together (setup); axis out of range, shapes that differ elsewhere (reshape)
Source    Caffe ConcatLayer
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nst.backend import Array
from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import canonical_axis


class Concat(Layer):
    type = "Concat"
    bottoms = Arity.at_least(1)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.concat_param
        if p.HasField("axis") and p.HasField("concat_dim"):
            raise self.net_error(
                "Either axis or concat_dim should be specified; not both. "
                f"(got axis {p.axis}, concat_dim {p.concat_dim})"
            )
        wanted = p.concat_dim if p.HasField("concat_dim") else p.axis
        self.axis = canonical_axis(wanted, bottom_shapes[0], layer=self.name)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        first, axis = bottom_shapes[0], self.axis
        for shape in bottom_shapes[1:]:
            if len(shape) != len(first):
                raise self.shape_error(
                    f"All inputs must have the same #axes. (got {shape}, expected {len(first)} axes)"
                )
            if (*shape[:axis], *shape[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]):
                raise self.shape_error(
                    "All inputs must have the same shape, except at concat_axis. "
                    f"(got {shape} and {first}, concat_axis {axis})"
                )
        total = sum(shape[axis] for shape in bottom_shapes)
        return [(*first[:axis], total, *first[axis + 1 :])]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for x, part in zip(bottom, self._parts(top[0].data, bottom), strict=True):
            part[...] = x.data

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        parts = self._parts(top[0].diff, bottom)
        for x, wanted, part in zip(bottom, propagate_down, parts, strict=True):
            if wanted:
                x.diff[...] = part

    def _parts(self, array: Array, bottom: Sequence[Blob]) -> Iterator[Array]:
        """The slice of the joined array that belongs to each bottom."""
        before = (slice(None),) * self.axis
        start = 0
        for blob in bottom:
            end = start + blob.shape[self.axis]
            index = (*before, slice(start, end))
            yield array[index]
            start = end
