"""Reduction: reduces the last axes to one number.

Formula   y = c * f(x) over the axes from `axis` on: SUM, ASUM (of |x|), SUMSQ (of x^2), MEAN;
          dx = c * dy * (1 | sign x | 2x | 1/count)
Bottoms   x (any shape)
Tops      y (x.shape[:axis]); a scalar for axis 0
Params    reduction_param { operation = SUM  axis = 0 (negative counts from the end)  coeff = 1: c }
Gradient  exact
Errors    axis out of range (setup)
Source    Caffe ReductionLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Layer, Shape
from nst.core.shapes import canonical_axis, count
from nst.proto import ReductionParameter


class Reduction(Layer):
    type = "Reduction"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.reduction_param
        self.operation: int = p.operation
        shape = bottom_shapes[0]
        self.axis = canonical_axis(p.axis, shape, layer=self.name) if shape else 0
        self.coefficient: float = p.coeff

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [bottom_shapes[0][: self.axis]]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data.reshape(self._rows(bottom[0].shape))
        if self.operation == ReductionParameter.ASUM:
            x = self.backend.xp.absolute(x)
        elif self.operation == ReductionParameter.SUMSQ:
            x = x * x
        y = top[0].data
        y[...] = x.sum(axis=1).reshape(y.shape)
        y *= self._factor(bottom[0])

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        rows = self._rows(bottom[0].shape)
        dx, x = bottom[0].diff.reshape(rows), bottom[0].data.reshape(rows)
        if self.operation == ReductionParameter.ASUM:
            self.backend.xp.sign(x, out=dx)
        elif self.operation == ReductionParameter.SUMSQ:
            self.backend.xp.multiply(x, 2, out=dx)
        else:
            dx[...] = 1
        dx *= top[0].diff.reshape(-1, 1) * self._factor(bottom[0])

    def _rows(self, shape: Shape) -> tuple[int, int]:
        """(results, values per result)."""
        return count(shape, 0, self.axis), count(shape, self.axis)

    def _factor(self, blob: Blob) -> float:
        if self.operation == ReductionParameter.MEAN:
            return self.coefficient / max(1, count(blob.shape, self.axis))
        return self.coefficient
