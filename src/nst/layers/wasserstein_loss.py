"""WassersteinLoss: squared 2-Wasserstein distance of the normal distributions with given moments.

Formula   m = y[:, 0], S = y[:, 1:] - m m^T + eps I: mean and covariance of the features; m*, T of the target
          L = 1/N sum_n |m - m*|^2 + tr(S + T - 2 (T^1/2 S T^1/2)^1/2), divided by tr y*[:, 1:] if relative
          dS = I - T^1/2 (T^1/2 S T^1/2)^-1/2 T^1/2;  dy[:, 1:] = dS,  dy[:, 0] = 2 (m - m*) - 2 dS m
          eps = epsilon * tr T / C: without it the root of a covariance that lacks rank has no derivative
Bottoms   y, y* (N, C, 1 + C): raw moments, as Moments makes them
Tops      L (scalar)
Params    wasserstein_loss_param { epsilon = 1e-4  relative = false }
Gradient  exact with respect to y, of which the symmetric part counts, from one symmetric eigendecomposition;
          the target receives none
Errors    epsilon negative or not finite (setup); shapes that differ or are not (N, C, 1 + C) (reshape)
Source    Olkin, Pukelsheim 1982; as a style term V. Marron 2017 and crowsonkb/style-transfer-pytorch 2023,
          which divides by C and takes roots by Newton-Schulz steps
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nst.backend import Array
from nst.backend.covariance_root import CovarianceRoot
from nst.core import Blob, Shape
from nst.layers.moment_distance import MomentDistance


class WassersteinLoss(MomentDistance):
    type = "WassersteinLoss"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.read_settings(self.param.wasserstein_loss_param)
        self.gradient = self.new_blob()
        self.targets: list[_Target] = []

    def width(self, channels: int) -> int:
        return 1 + channels

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        with self.backend.serial_blas():
            self._compare(bottom, top)

    def _compare(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._look_at_targets(bottom[1].data)
        y = bottom[0].data.astype("float64")
        self.gradient.reshape(*y.shape)
        total = 0.0
        for n, target in enumerate(self.targets):
            distance, slope = self._distance(y[n], target)
            total += distance
            self.gradient.data[n] = slope
        top[0].data[...] = total / len(y)

    def _look_at_targets(self, data: Array) -> None:
        """Takes the roots of the targets, unless they are those of the last forward."""
        kept = self.targets
        if len(kept) == len(data) and all(
            bool((target.moments == moments).all())
            for target, moments in zip(kept, data, strict=True)
        ):
            return
        self.targets = [_Target(self.backend.xp, moments, self.epsilon) for moments in data]

    def _distance(self, y: Array, target: _Target) -> tuple[float, Array]:
        """The distance of one item, and its gradient (C, 1 + C)."""
        xp = self.backend.xp
        if not bool(
            xp.isfinite(y).all()
        ):  # LAPACK would raise; of a loss that is NaN somebody is told
            return math.nan, xp.full_like(y, math.nan)
        mean = y[:, 0]
        covariance = (y[:, 1:] + y[:, 1:].T) / 2 - xp.outer(mean, mean) + target.ridge
        values, vectors = xp.linalg.eigh(target.root @ covariance @ target.root)
        # float32 moments may leave the smallest values a little below the bound that eps sets
        roots = xp.sqrt(xp.maximum(values, target.floor))
        shift = mean - target.mean
        distance = shift @ shift + xp.trace(covariance) + target.trace - 2 * roots.sum()
        half = target.root @ (vectors / xp.sqrt(roots))
        slope = xp.empty_like(y)
        slope[:, 1:] = xp.eye(len(mean)) - half @ half.T
        slope[:, 0] = 2 * shift - 2 * slope[:, 1:] @ mean
        scale = float(self.scale(xp.asarray(target.mean_square)))
        return float(distance) * scale, slope * scale


class _Target(CovarianceRoot):
    """A root, with the moments that it was taken of."""

    def __init__(self, xp: Any, moments: Array, epsilon: float) -> None:
        super().__init__(xp, moments, epsilon)
        self.moments = moments.copy()
        self.ridge = self.share * xp.eye(len(moments))
