"""Slice: cuts a blob into pieces along one axis.

Formula   y_i = x[begin_i : end_i] along the axis;  dx = [dy_0, dy_1, ...]
Bottoms   x (any shape)
Tops      y_i, one or more: the extents along the axis add up to the bottom's
Params    slice_param { axis = 1 (negative counts from the end)  slice_point: where to cut, rising, one less
          than tops; left out: equal pieces }; deprecated: slice_dim
Gradient  exact
Errors    axis and slice_dim together, axis out of range (setup); points that do not fit, uneven pieces
          (reshape)
Source    Caffe SliceLayer
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from nst.backend import Array
from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import canonical_axis


class Slice(Layer):
    type = "Slice"
    tops = Arity.at_least(1)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.slice_param
        if p.HasField("axis") and p.HasField("slice_dim"):
            raise self.net_error(
                "Either axis or slice_dim should be specified; not both. "
                f"(got axis {p.axis}, slice_dim {p.slice_dim})"
            )
        wanted = p.slice_dim if p.HasField("slice_dim") else p.axis
        self.axis = canonical_axis(wanted, bottom_shapes[0], layer=self.name)
        self.points = list(p.slice_point)
        self.pieces = len(self.param.top)
        if self.points and len(self.points) != self.pieces - 1:
            raise self.net_error(
                f"slice_point must be given once less than there are tops (got {self.points} for "
                f"{self.pieces} tops, expected {self.pieces - 1})"
            )

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        cuts = self._cuts(shape[self.axis])
        before, after = shape[: self.axis], shape[self.axis + 1 :]
        return [(*before, end - begin, *after) for begin, end in pairwise(cuts)]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob, part in zip(top, self._parts(bottom[0].data, top), strict=True):
            blob.data[...] = part

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            for blob, part in zip(top, self._parts(bottom[0].diff, top), strict=True):
                part[...] = blob.diff

    def _cuts(self, size: int) -> list[int]:
        """Where the pieces begin, and the end of the last."""
        if not self.points:
            if size % self.pieces:
                raise self.shape_error(
                    f"Number of top blobs ({self.pieces}) should evenly divide input slice axis "
                    f"({size}) (got axis {self.axis})"
                )
            return (
                list(range(0, size + 1, size // self.pieces)) if size else [0] * (self.pieces + 1)
            )
        cuts = [0, *self.points, size]
        if any(begin >= end for begin, end in pairwise(cuts)):
            raise self.shape_error(
                f"slice_point must rise and stay inside the axis (got {self.points}, expected "
                f"between 0 and {size} on axis {self.axis})"
            )
        return cuts

    def _parts(self, array: Array, top: Sequence[Blob]) -> Iterator[Array]:
        """The slice of the whole array that belongs to each top."""
        before = (slice(None),) * self.axis
        start = 0
        for blob in top:
            end = start + blob.shape[self.axis]
            index = (*before, slice(start, end))
            yield array[index]
            start = end
