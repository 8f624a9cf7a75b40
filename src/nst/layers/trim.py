"""Trim: leaves out the places along the edges of every map.

Formula   y[h, w] = x[h + m_h, w + m_w], with m = min(margin, (side - 1) // 2) on each axis, so that a place
          is always left; dx: dy inside, 0 along the edges
Bottoms   x (N, C, H, W)
Tops      y (N, C, H - 2 m_h, W - 2 m_w)
Params    trim_param { margin = 1 }
Gradient  exact
Errors    a bottom without 4 axes (reshape)
Source    own; behind zero padding the outermost features show where the edge is, and a statistic over all
          places ties the style to it
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Layer, Shape


class Trim(Layer):
    type = "Trim"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self._margin: int = self.param.trim_param.margin

    def margins(self, shape: Shape) -> tuple[int, int]:
        """How many lines and columns are left out on each side of maps (N, C, H, W)."""
        height, width = (min(self._margin, (side - 1) // 2) for side in shape[2:])
        return height, width

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if len(shape) != 4:
            raise self.shape_error(f"trimming needs (N, C, H, W) (got {shape}, expected 4 axes)")
        sides = zip(shape[2:], self.margins(shape), strict=True)
        return [(*shape[:2], *(side - 2 * margin for side, margin in sides))]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data[...] = bottom[0].data[self._inside(bottom[0].shape)]

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            dx = bottom[0].diff
            dx[...] = 0
            dx[self._inside(bottom[0].shape)] = top[0].diff

    def _inside(self, shape: Shape) -> tuple[slice, ...]:
        sides = zip(shape[2:], self.margins(shape), strict=True)
        return (slice(None), slice(None), *(slice(m, side - m) for side, m in sides))
