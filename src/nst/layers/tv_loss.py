"""TVLoss: total variation of a picture, the smoothness term.

Formula   L = sum (dx^2 + dy^2 + eps)^(beta/2) over all planes, without last row and column, where
          dx = x[h,w] - x[h,w+1], dy = x[h,w] - x[h+1,w];  q = (beta/2) (dx^2 + dy^2 + eps)^(beta/2 - 1)
          gradient: 2q(dx + dy) at (h,w), -2q dx at (h,w+1), -2q dy at (h+1,w), times the loss weight
Bottoms   x (N, C, H, W)
Tops      L (scalar)
Params    tv_loss_param { beta = 2  epsilon = 0 }; beta < 2 wants epsilon > 0
Gradient  exact; where dx = dy = 0 and eps = 0 it is 0 for every beta (MyCaffe gives NaN for beta < 2)
Errors    beta <= 0, epsilon < 0 (setup); a bottom without 4 axes (reshape)
Source    Mahendran, Vedaldi 2014 (arXiv 1412.0035) eq. 5; MyCaffe TVLossLayer without its stale sums
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Layer, Shape


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
        self.beta: float = p.beta
        self.epsilon: float = p.epsilon

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        if len(bottom_shapes[0]) != 4:
            raise self.shape_error(
                f"total variation needs (N, C, H, W) (got {bottom_shapes[0]}, expected 4 axes)"
            )
        return [()]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        _, _, square = self._differences(bottom[0].data)
        if self.beta != 2:
            square **= self.beta / 2
        top[0].data[...] = square.sum(dtype="float64")

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
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
