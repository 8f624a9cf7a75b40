"""InnerProduct: the fully connected layer.

Formula   y = x w^T + b, x as an (M, K) matrix;  dx = dy w, dw = dy^T x, db = sum of the rows of dy
Bottoms   x: the axes before `axis` are the batch (M), the others one vector of K values
Tops      y (x.shape[:axis], num_output)
Params    inner_product_param { num_output  bias_term = true  axis = 1  transpose = false (w is stored as
          (K, num_output))  weight_filler, bias_filler = constant 0 }
Blobs     w (num_output, K), or (K, num_output) if transpose; b (num_output,) if bias_term
Gradient  exact
Errors    num_output missing, axis out of range (setup); changed K (reshape)
Source    Caffe InnerProductLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Layer, Shape
from nst.core.shapes import canonical_axis, count


class InnerProduct(Layer):
    type = "InnerProduct"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.inner_product_param
        if p.num_output < 1:
            raise self.net_error("num_output must be set (got 0, expected at least 1)")
        self.axis = canonical_axis(p.axis, bottom_shapes[0], layer=self.name)
        self.num_output: int = p.num_output
        self.inputs = count(bottom_shapes[0], self.axis)
        self.is_transposed: bool = p.transpose
        rows_columns = (self.num_output, self.inputs)
        self.add_param(rows_columns[::-1] if p.transpose else rows_columns, p.weight_filler)
        if p.bias_term:
            self.add_param((self.num_output,), p.bias_filler)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if len(shape) <= self.axis or count(shape, self.axis) != self.inputs:
            raise self.shape_error(
                "Input size incompatible with inner product parameters. "
                f"(got bottom {shape}, expected {self.inputs} values from axis {self.axis} on)"
            )
        return [(*shape[: self.axis], self.num_output)]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = top[0].data.reshape(-1, self.num_output)  # (M, O)
        self.backend.matmul(self._rows(bottom[0].data), self._by_outputs(self.params[0].data).T, y)
        if len(self.params) > 1:
            y += self.params[1].data

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        dy = top[0].diff.reshape(-1, self.num_output)  # (M, O)
        x = self._rows(bottom[0].data)  # (M, K)
        if self.params_propagate_down[0]:
            left, right = (x, dy) if self.is_transposed else (dy, x)
            self.backend.matmul(left.T, right, self.params[0].diff, accumulate=True)
        if len(self.params) > 1 and self.params_propagate_down[1]:
            self.params[1].diff[...] += dy.sum(axis=0)
        if propagate_down[0]:
            w = self._by_outputs(self.params[0].data)
            self.backend.matmul(dy, w, self._rows(bottom[0].diff))

    def _rows(self, array: Array) -> Array:
        return array.reshape(-1, self.inputs)

    def _by_outputs(self, w: Array) -> Array:
        """The weights as (num_output, K), however they are stored."""
        return w.T if self.is_transposed else w
