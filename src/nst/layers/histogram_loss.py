"""HistogramLoss: distance of the distributions of values, channel by channel.

Formula   f, t: one channel's values, rising;  q: values of t at the ranks of f (linear between them)
          L = 1/N sum_n sum_c mean (f - q)^2: per channel the squared 2-Wasserstein distance;
          df = 2/P (f - q), back at the places where the values stood;
          divided by sum_c mean t^2 per item if relative
Bottoms   F (N, C, P...), the target T (N, C, Q...): P and Q, the numbers of places, may differ
Tops      L (scalar)
Params    histogram_loss_param { relative = false }
Gradient  exact, except where two values of a channel are equal: there it is that of one of the orders
Errors    N or C that differ, fewer than 3 axes (reshape)
Source    Risser, Wilmot, Barnes 2017 (arXiv 1701.08893) section 4, with ranks in place of 256 bins
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Shape
from nst.layers.loss import Loss


class HistogramLoss(Loss):
    type = "HistogramLoss"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.relative: bool = self.param.histogram_loss_param.relative
        self.difference = self.new_blob()
        self.factors: list[float] = []

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        f, t = bottom_shapes
        if len(f) < 3 or len(t) < 3 or f[:2] != t[:2]:
            raise self.shape_error(
                f"features and target must be (N, C, places...) with one N and C (got {f} and {t})"
            )
        return [()]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = self.backend.xp
        f, t = (blob.data.reshape(*blob.shape[:2], -1) for blob in bottom)
        self.difference.reshape(*f.shape)
        ranks = xp.argsort(xp.argsort(f, axis=2), axis=2)
        wanted = xp.take_along_axis(self._quantiles(t, f.shape[2]), ranks, axis=2)
        difference = xp.subtract(f, wanted, out=self.difference.data)
        dot, places = self.backend.dot, len(f) * f.shape[2]
        squares = [dot(item, item) / item.shape[1] if self.relative else 1.0 for item in t]
        self.factors = [1 / (places * (square or 1.0)) for square in squares]
        pairs = zip(self.factors, difference, strict=True)
        top[0].data[...] = sum(factor * dot(d, d) for factor, d in pairs)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        self.refuse_labels(propagate_down, "target")
        if propagate_down[0]:
            dx = bottom[0].diff.reshape(self.difference.shape)
            for factor, d, item in zip(self.factors, self.difference.data, dx, strict=True):
                self.backend.xp.multiply(d, 2 * factor * top[0].diff, out=item)

    def _quantiles(self, t: Array, places: int) -> Array:
        """The target's values (N, C, places) at evenly spread ranks, rising."""
        xp = self.backend.xp
        rising = xp.sort(t, axis=2)
        last = t.shape[2] - 1
        ranks = (xp.arange(places) + 0.5) * (t.shape[2] / places) - 0.5
        ranks = xp.clip(ranks, 0, last)
        below = ranks.astype("int64")
        share = (ranks - below).astype(t.dtype)
        above = xp.minimum(below + 1, last)
        return rising[:, :, below] * (1 - share) + rising[:, :, above] * share
