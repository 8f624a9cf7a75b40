"""MMDLoss: squared maximum mean discrepancy of two sets of feature vectors, one vector per place.

Formula   L = 1/N sum_n mean k(f, f') + mean k(t, t') - 2 mean k(f, t) over all pairs of columns of F and T
          LINEAR      k = x.y:              |m_F - m_T|^2;  dF = 2/P (m_F - m_T)
          POLYNOMIAL  k = (x.y + c)^2:      |G_F - G_T|^2 + 2c |m_F - m_T|^2, G = F F^T / P;
                                            dF = 4/P ((G_F - G_T) F + c (m_F - m_T))
          GAUSSIAN    k = exp(-|x-y|^2/2v): df_i = 2/(P v) (-1/P sum_j k(f_i, f_j) (f_i - f_j)
                                                              + 1/Q sum_j k(f_i, t_j) (f_i - t_j))
Bottoms   F (N, C, P...), the target T (N, C, Q...): P and Q, the numbers of places, may differ
Tops      L (scalar)
Params    mmd_loss_param { kernel = LINEAR | POLYNOMIAL | GAUSSIAN  offset = 0: c  bandwidth = 0: v; 0 takes
          the mean squared distance of two vectors of the target }
Gradient  exact with respect to F; the target receives none
Errors    offset < 0, bandwidth < 0 (setup); N or C that differ (reshape)
Source    Li, Wang, Liu, Hou 2017 (arXiv 1701.01036), in the biased form over all pairs. GAUSSIAN costs
          P (P + Q) C: for small maps. The paper draws random pairs, which no line search can follow
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Shape
from nst.layers.loss import Loss
from nst.proto import MMDLossParameter

ROWS = 1024
"""Rows of the Gaussian kernel matrix in memory at a time."""


class MMDLoss(Loss):
    type = "MMDLoss"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.mmd_loss_param
        for name in ("offset", "bandwidth"):
            if getattr(p, name) < 0 or not math.isfinite(getattr(p, name)):
                raise self.net_error(
                    f"{name} must be finite and not negative (got {getattr(p, name)})"
                )
        self.kernel: int = p.kernel
        self.offset: float = p.offset
        self.bandwidth: float = p.bandwidth
        self.gradient = self.new_blob()

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        f, t = bottom_shapes
        if len(f) < 3 or len(t) < 3 or f[:2] != t[:2]:
            raise self.shape_error(
                f"features and target must be (N, C, places...) with one N and C (got {f} and {t})"
            )
        return [()]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        f, t = (blob.data.reshape(*blob.shape[:2], -1) for blob in bottom)
        self.gradient.reshape(*f.shape)
        distance = self._gaussian if self.kernel == MMDLossParameter.GAUSSIAN else self._by_moments
        total = sum(distance(f[n], t[n], self.gradient.data[n]) for n in range(len(f)))
        top[0].data[...] = total / len(f)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        self.refuse_labels(propagate_down, "target")
        if propagate_down[0]:
            factor = top[0].diff / bottom[0].shape[0]
            dx = bottom[0].diff.reshape(self.gradient.shape)
            self.backend.xp.multiply(self.gradient.data, factor, out=dx)

    def _by_moments(self, f: Array, t: Array, gradient: Array) -> float:
        """LINEAR and POLYNOMIAL: distances of means and of second moments."""
        places = f.shape[1]
        shift = f.mean(axis=1, dtype="float64") - t.mean(axis=1, dtype="float64")
        if self.kernel == MMDLossParameter.LINEAR:
            gradient[...] = (2 / places * shift)[:, None]
            return float(shift @ shift)
        difference = f @ f.T / places - t @ t.T / t.shape[1]
        gradient[...] = difference @ f
        gradient += (self.offset * shift)[:, None]
        gradient *= 4 / places
        return float((difference * difference).sum() + 2 * self.offset * (shift @ shift))

    def _gaussian(self, f: Array, t: Array, gradient: Array) -> float:
        variance = self.bandwidth or float(2 * t.var(axis=1, dtype="float64").sum()) or 1.0
        own, own_pull = self._attraction(f, f, variance)
        other, other_pull = self._attraction(f, t, variance)
        gradient[...] = (other_pull - own_pull) * (2 / (f.shape[1] * variance))
        return own + self._attraction(t, t, variance)[0] - 2 * other

    def _attraction(self, a: Array, b: Array, variance: float) -> tuple[float, Array]:
        """Mean of k(a_i, b_j), and the mean over j of k(a_i, b_j) (a_i - b_j), like a."""
        xp = self.backend.xp
        pull, total = xp.empty_like(a), 0.0
        for start in range(0, a.shape[1], ROWS):
            rows = a[:, start : start + ROWS]  # (C, R)
            squares = (rows * rows).sum(axis=0)[:, None] + (b * b).sum(axis=0) - 2 * (rows.T @ b)
            k = xp.exp(squares / (-2 * variance))  # (R, Q)
            total += float(k.sum(dtype="float64"))
            pull[:, start : start + ROWS] = (rows * k.sum(axis=1) - b @ k.T) / b.shape[1]
        return total / (a.shape[1] * b.shape[1]), pull
