"""TemporalLoss: squared distance of a frame from the warped frame before, where the two show the same.

Formula   L = 1/D sum_k c_k (x_k - w_k)^2;  dx_k = 2/D c_k (x_k - w_k)
          D = number of values of x; with relative = true the sum of w_k^2 (1 if that is 0)
          The weights c do not enter D: what is free counts as met
Bottoms   x (N, C, H, W), the warped frame w: same shape, the weights c (N, 1, H, W): 0 is free, 1 is held
Tops      L (scalar)
Params    temporal_loss_param { relative: false }
Gradient  exact with respect to x; warped frame and weights receive none
Errors    shapes that do not fit (reshape); a gradient for w or c is asked for (backward)
Source    Ruder, Dosovitskiy and Brox 2016, Artistic Style Transfer for Videos, arXiv 1604.08610, eq. 7;
          relative: own, a share that needs no weight of its own for each net and picture
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Shape
from nst.core.shapes import count
from nst.layers.loss import Loss


class TemporalLoss(Loss):
    type = "TemporalLoss"
    bottoms = Arity.exactly(3)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.relative = self.param.temporal_loss_param.relative
        self.held = self.new_blob()
        self.factor = 1.0

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        x, warped, weights = bottom_shapes
        if len(x) != 4 or x != warped:
            raise self.shape_error(
                f"frame and warped frame differ (got {x} and {warped}, expected one shape N C H W)"
            )
        if weights != (x[0], 1, *x[2:]):
            raise self.shape_error(
                f"not one weight per pixel (got {weights}, expected {(x[0], 1, *x[2:])})"
            )
        return [()]

    def allows_force_backward(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, warped, weights = (blob.data for blob in bottom)
        xp, dot = self.backend.xp, self.backend.dot
        self.held.reshape(*x.shape)
        held = self.held.data
        difference = xp.subtract(x, warped)
        xp.multiply(difference, weights, out=held)
        size = (dot(warped, warped) or 1.0) if self.relative else count(x.shape)
        self.factor = 1 / size
        top[0].data[...] = self.factor * dot(held, difference)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        self.refuse_labels(propagate_down, "target")
        if propagate_down[0]:
            scale = 2 * self.factor * top[0].diff
            self.backend.xp.multiply(self.held.data, scale, out=bottom[0].diff)
