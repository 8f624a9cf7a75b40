"""Eltwise: combines blobs of one shape element by element.

Formula   SUM: y = sum c_i x_i, dx_i = c_i dy;  PROD: y = prod x_i, dx_i = dy * product of the others;
          MAX: y = max x_i, dy goes to the winner (a tie of the first two to the second, else to the earlier)
Bottoms   x_i, two or more, same shape
Tops      y (same shape)
Params    eltwise_param { operation = SUM | PROD | MAX  coeff: c_i, one per bottom = 1, SUM only
          stable_prod_grad = true (false: PROD divides y by x_i, quicker, NaN where x_i is 0) }
Gradient  exact
Errors    number of coefficients, coefficients without SUM (setup); shapes that differ (reshape)
Source    Caffe EltwiseLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import text
from nst.proto import EltwiseParameter


class Eltwise(Layer):
    type = "Eltwise"
    bottoms = Arity.at_least(2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.eltwise_param
        self.operation: int = p.operation
        self.coefficients = list(p.coeff) or [1.0] * len(bottom_shapes)
        self.is_stable: bool = p.stable_prod_grad
        if len(self.coefficients) != len(bottom_shapes):
            raise self.net_error(
                "Eltwise Layer takes one coefficient per bottom blob. "
                f"(got {len(p.coeff)}, expected {len(bottom_shapes)})"
            )
        if p.coeff and self.operation != EltwiseParameter.SUM:
            name = EltwiseParameter.EltwiseOp.Name(p.operation)
            raise self.net_error(
                f"Eltwise layer only takes coefficients for summation. (got {name})"
            )
        self.winner = self.backend.zeros((0,), "int32")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        first = bottom_shapes[0]
        for i, shape in enumerate(bottom_shapes):
            if shape != first:
                raise self.shape_error(
                    f"bottom[0]: {text(first)}, bottom[{i}]: {text(shape)} must have the same shape "
                    f"(got {shape}, expected {first})"
                )
        return [first]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp, y = self.backend.xp, top[0].data
        if self.operation == EltwiseParameter.SUM:
            xp.multiply(bottom[0].data, self.coefficients[0], out=y)
            for factor, x in zip(self.coefficients[1:], bottom[1:], strict=True):
                self.backend.axpy(factor, x.data, y)
        elif self.operation == EltwiseParameter.PROD:
            xp.multiply(bottom[0].data, bottom[1].data, out=y)
            for x in bottom[2:]:
                y *= x.data
        else:
            self._maximum(bottom, y)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        xp, dy = self.backend.xp, top[0].diff
        for i, (wanted, x) in enumerate(zip(propagate_down, bottom, strict=True)):
            if not wanted:
                continue
            if self.operation == EltwiseParameter.SUM:
                xp.multiply(dy, self.coefficients[i], out=x.diff)
            elif self.operation == EltwiseParameter.PROD:
                self._product_of_others(i, top[0].data, bottom, x.diff)
                x.diff[...] *= dy
            else:
                xp.multiply(dy, self.winner == i, out=x.diff)

    def _maximum(self, bottom: Sequence[Blob], y: Array) -> None:
        xp = self.backend.xp
        first, second = bottom[0].data, bottom[1].data
        loses = first <= second  # Caffe: a tie of the first two goes to the second
        self.winner = loses.astype("int32")
        y[...] = xp.where(loses, second, first)
        for i, x in enumerate(bottom[2:], start=2):
            wins = x.data > y
            self.winner[wins] = i
            xp.maximum(y, x.data, out=y)

    def _product_of_others(self, index: int, y: Array, bottom: Sequence[Blob], out: Array) -> None:
        if not self.is_stable and not self.top_is_overwritten:
            self.backend.xp.divide(y, bottom[index].data, out=out)
            return
        others = [x.data for i, x in enumerate(bottom) if i != index]
        out[...] = others[0]
        for x in others[1:]:
            out *= x
