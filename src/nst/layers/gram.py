"""Gram: inner products of all pairs of feature maps, the style representation of Gatys et al.

Formula   y = s * F F^T with F (C, K) the maps as rows;  dF = s * (dy + dy^T) F
          s = alpha * beta, divided by K (normalize HW) or C * K (normalize CHW)
          with a mask y = s * F diag(m) F^T, dF = s * (dy + dy^T) F diag(m), and sum m in the place of K
Bottoms   x (M..., C, K...): feature maps; `axis` is the first of the K axes; optional mask m >= 0
          (M..., 1, K...) or (1..., 1, K...): how much each place counts
Tops      y (M..., C, C)... that is x.shape[:axis] + (C,): one symmetric matrix per image
Params    gram_param { axis = 2  alpha = 1  beta = 1  normalize = NONE | HW | CHW
          disable_scaling_on_gradient = false }; alpha, beta > 0
Gradient  exact, unless disable_scaling_on_gradient: then s is taken as 1 going back (MyCaffe); the mask
          receives none
Errors    alpha or beta <= 0 (setup); axis out of range or 0, another shape of the mask (reshape); a value
          of the mask below 0 (forward)
Source    Gatys, Ecker, Bethge 2015 (arXiv 1508.06576) eq. 3; MyCaffe GramLayer; fork's gram_layer; with a
          mask Gatys et al. 2017 (arXiv 1611.07865) eq. 3 and 4, where guides are roots of our masks
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import canonical_axis, count
from nst.layers.guide import Guide
from nst.proto import GramParameter


class Gram(Layer):
    type = "Gram"
    bottoms = Arity.between(1, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.gram_param
        if p.alpha <= 0 or p.beta <= 0:
            raise self.net_error(
                f"alpha and beta must be positive (got alpha {p.alpha}, beta {p.beta})"
            )
        self.axis = canonical_axis(p.axis, bottom_shapes[0], layer=self.name)
        if self.axis == 0:
            raise self.shape_error(
                "axis 0 leaves no channel axis before it (got axis 0, expected at least 1)"
            )
        self.alpha_beta: float = p.alpha * p.beta
        self.normalize: int = p.normalize
        self.scales_gradient = not p.disable_scaling_on_gradient
        self.guide = Guide(self, normalized=self.normalize != GramParameter.NONE)
        self.gradient = self.new_blob()

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if len(shape) <= self.axis:
            raise self.shape_error(f"bottom has too few axes (got {shape}, expected > {self.axis})")
        if len(bottom_shapes) == 2:
            self.guide.check(shape, bottom_shapes[1], self.axis)
        return [(*shape[: self.axis], shape[self.axis - 1])]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self._rows(bottom[0].data)  # (M, C, K)
        y = top[0].data.reshape(-1, x.shape[1], x.shape[1])
        if len(bottom) == 2:
            weighed = self.guide.weigh(x, bottom[1].data)
            self.backend.gram(weighed, self._scale((1, x.shape[1], 1)), y)
        else:
            self.backend.gram(x, self._scale(x.shape), y)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if len(bottom) == 2 and propagate_down[1]:
            raise self.net_error("no gradient goes to the mask")
        if not propagate_down[0]:
            return
        x, dx = self._rows(bottom[0].data), self._rows(bottom[0].diff)  # (M, C, K)
        dy = top[0].diff.reshape(-1, x.shape[1], x.shape[1])
        if len(bottom) == 2:
            self._backward_guided(dy, dx)
            return
        scale = self._scale(x.shape) if self.scales_gradient else 1.0
        self.backend.gram_backward(dy, x, scale, dx)

    def allows_force_backward(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def _backward_guided(self, dy: Array, dx: Array) -> None:
        weighed = self.guide.weighed
        self.gradient.reshape(*weighed.shape)
        gradient = self.gradient.data
        scale = self._scale((1, weighed.shape[1], 1)) if self.scales_gradient else 1.0
        self.backend.gram_backward(dy, weighed.data, scale, gradient)
        if self.guide.normalized and not self.scales_gradient:
            gradient *= self.guide.totals
        self.guide.scatter(gradient, dx)

    def _rows(self, array: Array) -> Array:
        shape = array.shape
        return array.reshape(count(shape, 0, self.axis - 1), shape[self.axis - 1], -1)

    def _scale(self, rows_shape: Shape) -> float:
        _, channels, positions = rows_shape
        if self.normalize == GramParameter.HW:
            return self.alpha_beta / positions
        if self.normalize == GramParameter.CHW:
            return self.alpha_beta / (channels * positions)
        return self.alpha_beta
