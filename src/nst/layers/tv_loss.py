"""TVLoss: total variation of a picture, the smoothness term.

Formula   L = sum (dx^2 + dy^2 + eps)^(beta/2) over all planes, without last row and column, where
          dx = x[h,w] - x[h,w+1], dy = x[h,w] - x[h+1,w];  q = (beta/2) (dx^2 + dy^2 + eps)^(beta/2 - 1)
          gradient: 2q(dx + dy) at (h,w), -2q dx at (h,w+1), -2q dy at (h+1,w), times the loss weight
          NINE_POINT: L = 1/count sum over pairs of neighbours of 2/3 d^2 (straight) and 1/6 d^2 (diagonal):
          the same in all directions, and a mean, so that its weight does not depend on the picture's size
Bottoms   x (N, C, H, W)
Tops      L (scalar)
Params    tv_loss_param { beta = 2  epsilon = 0  form = FORWARD | NINE_POINT }; beta < 2 wants epsilon > 0
Gradient  exact; where dx = dy = 0 and eps = 0 it is 0 for every beta (MyCaffe gives NaN for beta < 2)
Errors    beta <= 0, epsilon < 0, either of them with NINE_POINT (setup); a bottom without 4 axes (reshape)
Source    Mahendran, Vedaldi 2014 (arXiv 1412.0035) eq. 5; MyCaffe TVLossLayer without its stale sums;
          NINE_POINT: crowsonkb/style-transfer-pytorch, without its border of copies
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Layer, Shape
from nst.proto import TVLossParameter

_PAIRS = (((0, 1), 2 / 3), ((1, 0), 2 / 3), ((1, 1), 1 / 6), ((1, -1), 1 / 6))
"""Offsets (down, right) to half of the eight neighbours, and the weight of the squared difference."""


class TVLoss(Layer):
    type = "TVLoss"
    is_loss = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.tv_loss_param
        if p.beta <= 0 or p.epsilon < 0:
            raise self.net_error(
                f"beta must be positive and epsilon not negative "
                f"(got beta {p.beta}, epsilon {p.epsilon})"
            )
        self.is_nine_point = p.form == TVLossParameter.NINE_POINT
        if self.is_nine_point and (p.beta != 2 or p.epsilon != 0):
            raise self.net_error(
                f"NINE_POINT takes no beta and no epsilon (got beta {p.beta}, epsilon {p.epsilon})"
            )
        self.beta: float = p.beta
        self.epsilon: float = p.epsilon

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        if len(bottom_shapes[0]) != 4:
            raise self.shape_error(
                f"total variation needs (N, C, H, W) (got {bottom_shapes[0]}, expected 4 axes)"
            )
        return [()]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.is_nine_point:
            x = bottom[0].data
            total = sum(weight * self._squares(x, offset) for offset, weight in _PAIRS)
            top[0].data[...] = total / x.size
            return
        _, _, square = self._differences(bottom[0].data)
        if self.beta != 2:
            square **= self.beta / 2
        top[0].data[...] = square.sum(dtype="float64")

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        if self.is_nine_point:
            self._nine_point_gradient(bottom[0].data, top[0].diff, bottom[0].diff)
            return
        dx, dy, square = self._differences(bottom[0].data)
        if self.beta == 2:
            factor = 2 * top[0].diff
        else:
            square += square == 0  # a flat spot has no gradient: avoids 0 ** negative
            square **= self.beta / 2 - 1
            square *= self.beta * top[0].diff  # 2q, times the loss weight
            factor = square
        dx *= factor
        dy *= factor
        grad = bottom[0].diff
        grad[...] = 0
        grad[:, :, :-1, :-1] += dx
        grad[:, :, :-1, :-1] += dy
        grad[:, :, :-1, 1:] -= dx
        grad[:, :, 1:, :-1] -= dy

    def _differences(self, x: Array) -> tuple[Array, Array, Array]:
        """(dx, dy, dx^2 + dy^2 + eps), each (N, C, H-1, W-1) and new."""
        corner = x[:, :, :-1, :-1]
        dx = corner - x[:, :, :-1, 1:]
        dy = corner - x[:, :, 1:, :-1]
        square = dx * dx
        square += dy * dy
        square += self.epsilon
        return dx, dy, square

    def _squares(self, x: Array, offset: tuple[int, int]) -> float:
        difference = self.backend.xp.subtract(*_neighbours(x, offset))
        return self.backend.dot(difference, difference)

    def _nine_point_gradient(self, x: Array, weight_of_loss: Array, grad: Array) -> None:
        grad[...] = 0
        for offset, weight in _PAIRS:
            difference = self.backend.xp.subtract(*_neighbours(x, offset))
            difference *= weight_of_loss * (2 * weight / x.size)
            near, far = _neighbours(grad, offset)
            near += difference
            far -= difference


def _neighbours(x: Array, offset: tuple[int, int]) -> tuple[Array, Array]:
    """Views of all places that have a neighbour at the offset, and of those neighbours."""
    down, right = offset
    height, width = x.shape[2:]
    left = max(0, -right)
    near = x[:, :, : height - down, left : width - max(0, right)]
    return near, x[:, :, down:, left + right : width + min(0, right)]
