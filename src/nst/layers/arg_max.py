"""ArgMax: where the largest values are.

Formula   y = indices of the top_k largest values, best first; equal values: the later index first
Bottoms   x (N, any...)
Tops      without axis: (N, 1, top_k, 1...) indices into the flattened example, at least 3-D; with
          out_max_val (N, 2, top_k, 1...): indices, then values. With axis: x.shape with top_k along the
          axis, indices, or the values with out_max_val
Params    argmax_param { out_max_val = false  top_k = 1  axis: none }
Gradient  none: asking for one is an error
Errors    top_k below 1 or above the number of values, axis out of range (setup and reshape)
Source    Caffe ArgMaxLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, NotDifferentiable, Shape
from nst.core.shapes import canonical_axis, count


class ArgMax(NotDifferentiable):
    type = "ArgMax"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.argmax_param
        self.gives_values: bool = p.out_max_val
        self.top_k: int = p.top_k
        self.axis: int | None = None
        if p.HasField("axis"):
            self.axis = canonical_axis(p.axis, bottom_shapes[0], layer=self.name)
        if self.top_k < 1:
            raise self.net_error("top_k must not be less than 1. (got 0)")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        values = count(shape, 1) if self.axis is None else shape[self.axis]
        if self.top_k > values:
            what = "the flattened bottom blob per instance" if self.axis is None else "the axis"
            raise self.shape_error(
                f"top_k must be less than or equal to the dimension of {what}. "
                f"(got {self.top_k}, expected at most {values})"
            )
        if self.axis is not None:
            return [(*shape[: self.axis], self.top_k, *shape[self.axis + 1 :])]
        rank = max(len(shape), 3)
        return [(shape[0], 1 + self.gives_values, self.top_k, *(1,) * (rank - 3))]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        if self.axis is None:
            rows = x.reshape(x.shape[0], count(x.shape, 1))
            indices = self._best(rows)  # (N, top_k)
            y = y.reshape(x.shape[0], 1 + self.gives_values, self.top_k)
            y[:, 0] = indices
            if self.gives_values:
                y[:, 1] = self.backend.xp.take_along_axis(rows, indices, axis=1)
            return
        rows = self.backend.xp.moveaxis(x, self.axis, -1)
        indices = self._best(rows)
        if self.gives_values:
            indices = self.backend.xp.take_along_axis(rows, indices, axis=-1)
        y[...] = self.backend.xp.moveaxis(indices, -1, self.axis)

    def _best(self, rows: Array) -> Array:
        """Indices of the top_k largest along the last axis; ties go to the larger index first."""
        order = self.backend.xp.argsort(-rows[..., ::-1], axis=-1, kind="stable")
        return rows.shape[-1] - 1 - order[..., : self.top_k]
