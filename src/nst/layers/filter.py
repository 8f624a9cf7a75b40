"""Filter: passes on only the examples that a selector marks.

Formula   y_i = x_i[selector != 0];  dx_i = dy_i at the selected examples, 0 at the others
Bottoms   x_i (N, any...), one or more; last: selector (N, 1...)
Tops      y_i (number of selected, any...), one per x_i; (N, ...) until the first forward
Gradient  exact; the selector has none
Errors    a selector with more than one value per example, another batch size (reshape)
Source    Caffe FilterLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import count


class Filter(Layer):
    type = "Filter"
    bottoms = Arity.at_least(2)
    tops = Arity.at_least(1)
    reshapes_every_time = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        if len(self.param.top) != len(bottom_shapes) - 1:
            raise self.net_error(
                "Filter Layer produces one top blob per bottom blob but the selector "
                f"(got {len(self.param.top)} tops, expected {len(bottom_shapes) - 1})"
            )
        self.is_first_reshape = True

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        *inputs, selector = bottom_shapes
        if count(selector, 1) != 1:
            raise self.shape_error(
                "Selector blob dimensions must be singletons (1), except the first "
                f"(got {selector})"
            )
        for shape in inputs:
            if shape[:1] != selector[:1]:
                raise self.shape_error(
                    "Each bottom should have the same 0th dimension as the selector blob "
                    f"(got {shape} and {selector})"
                )
        return inputs

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Reads the selector; before the first forward, when it holds nothing yet, all are selected."""
        shapes = self.top_shapes([blob.shape for blob in bottom])
        selector = bottom[-1].data.reshape(-1)
        (chosen,) = self.backend.xp.nonzero((selector != 0) | self.is_first_reshape)
        self.chosen, self.is_first_reshape = chosen, False
        for blob, shape in zip(top, shapes, strict=True):
            blob.reshape(int(chosen.size), *shape[1:])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for x, y in zip(bottom, top, strict=False):
            y.data[...] = x.data[self.chosen]

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[-1]:
            raise self.net_error("Layer cannot backpropagate to filter index inputs")
        for y, wanted, x in zip(top, propagate_down, bottom, strict=False):
            if wanted:
                dx = x.diff
                dx[...] = 0
                dx[self.chosen] = y.diff

    def allows_force_backward(self, bottom_index: int) -> bool:
        return bottom_index != len(self.param.bottom) - 1
