"""ContrastiveLoss: pulls like pairs together and pushes unlike ones apart.

Formula   L = 1/(2N) * sum s d^2 + (1 - s) m, d = |a - b|, s = 1 for like pairs, else 0
          m = max(margin - d, 0)^2, legacy_version: max(margin - d^2, 0)
          da = w/N * (a - b) * (1 if like, else -(margin - d) / (d + 1e-4) | legacy -1, 0 beyond the margin)
Bottoms   a, b (N, K) or (N, K, 1, 1): features; s (N, 1...): 1 for like pairs, 0 for unlike
Tops      L (scalar)
Params    contrastive_loss_param { margin = 1  legacy_version = false }
Gradient  exact for a and b but for Caffe's 1e-4, which keeps unlike pairs at d = 0 finite; s has none
Errors    shapes that differ, or that have pixels (reshape)
Source    Hadsell et al. 2006; Caffe ContrastiveLossLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Shape
from nst.core.shapes import count
from nst.layers.loss import Loss

_DISTANCE_FLOOR = 1e-4


class ContrastiveLoss(Loss):
    type = "ContrastiveLoss"
    bottoms = Arity.exactly(3)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.contrastive_loss_param
        self.margin: float = p.margin
        self.is_legacy: bool = p.legacy_version

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        a, b, like = bottom_shapes
        if a[:2] != b[:2] or count(a, 2) != 1 or count(b, 2) != 1 or count(like) != a[0]:
            raise self.shape_error(
                "needs two blobs of shape (N, K) or (N, K, 1, 1) and one similarity per example "
                f"(got {a}, {b} and {like}). Flatten pictures first"
            )
        return super().top_shapes(bottom_shapes)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = self.backend.xp
        batch, features = bottom[0].shape[0], count(bottom[0].shape, 1)
        a, b = (blob.data.reshape(batch, features) for blob in bottom[:2])
        self.difference = a - b  # (N, K)
        squared = (self.difference * self.difference).sum(axis=1)  # (N,)
        like = bottom[2].data.reshape(-1) != 0
        self.distance = xp.sqrt(squared)
        if self.is_legacy:
            self.slack = xp.maximum(self.margin - squared, 0)
            unlike = self.slack
        else:
            self.slack = xp.maximum(self.margin - self.distance, 0)
            unlike = self.slack * self.slack
        total = xp.where(like, squared, unlike).sum(dtype="float64")
        top[0].data[...] = total / (2 * max(1, batch))

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[2]:
            raise self.net_error("ContrastiveLoss Layer cannot backpropagate to similarity inputs")
        xp = self.backend.xp
        like = bottom[2].data.reshape(-1) != 0
        floored = self.distance + _DISTANCE_FLOOR
        push = xp.sign(self.slack) if self.is_legacy else self.slack / floored
        pull = xp.where(like, 1, -push)[:, None]  # (N, 1)
        for sign, wanted, blob in zip((1, -1), propagate_down[:2], bottom, strict=False):
            if wanted:
                dx = blob.diff.reshape(self.difference.shape)
                xp.multiply(self.difference, pull, out=dx)
                dx *= sign * top[0].diff / max(1, len(dx))

    def allows_force_backward(self, bottom_index: int) -> bool:
        return bottom_index != 2
