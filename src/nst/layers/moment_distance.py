"""MomentDistance: what the losses between two blobs of raw moments have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Shape
from nst.layers.loss import Loss
from nst.proto import MomentsLossParameter, WassersteinLossParameter


class MomentDistance(Loss):
    """Bottoms y and target (N, C, width): column 0 the means, the rest second moments.

    `forward` leaves the gradient of the summed distances in `gradient`; statistics are small, so all is
    computed in float64 whatever the net's dtype.
    """

    gradient: Blob

    @abstractmethod
    def width(self, channels: int) -> int:
        """Extent of the last axis of the bottoms."""

    def read_settings(self, p: MomentsLossParameter | WassersteinLossParameter) -> None:
        if p.epsilon < 0 or not math.isfinite(p.epsilon):
            raise self.net_error(f"epsilon must be finite and not negative (got {p.epsilon})")
        self.epsilon: float = p.epsilon
        self.relative: bool = p.relative

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        y, target = bottom_shapes
        if y != target or len(y) != 3 or y[2] != self.width(y[1]):
            wanted = self.width(y[1]) if len(y) > 1 else "width"
            raise self.shape_error(
                f"moments and their target must have one shape (N, C, {wanted}) "
                f"(got {y} and {target}). Make them with a Moments layer"
            )
        return [()]

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        self.refuse_labels(propagate_down, "target")
        if propagate_down[0]:
            factor = top[0].diff / bottom[0].shape[0]
            self.backend.xp.multiply(self.gradient.data, factor, out=bottom[0].diff)

    def variance(self, moments: Array) -> Array:
        """Variances (N, C) of moments with a diagonal; rounding may not make them negative."""
        mean, square = moments[:, :, 0], moments[:, :, 1]
        return self.backend.xp.maximum(square - mean * mean, 0)

    def scale(self, mean_square: Array) -> Array:
        """Factor per item: 1, or 1 / mean square of the target; a target of zeros has no size: 1."""
        xp = self.backend.xp
        if not self.relative:
            return xp.ones_like(mean_square)
        return 1 / xp.where(mean_square > 0, mean_square, 1)
