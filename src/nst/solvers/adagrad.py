"""AdaGrad: h += g^2; w -= rate * g / (sqrt(h) + delta). Source: Caffe's AdaGradSolver; Duchi et al. 2011."""

from __future__ import annotations

from nst.backend import Array
from nst.solvers.gradient_rule import GradientRule


class AdaGrad(GradientRule):
    """Rates per value that fall with the gradients seen so far."""

    type = "AdaGrad"
    momentum_refused = True

    def _step(self, data: Array, diff: Array, history: list[Array], rate: float) -> None:
        (h,) = history
        h += diff * diff
        diff /= self.net.backend.xp.sqrt(h) + self.param.delta
        diff *= rate
        self.net.backend.axpy(-1.0, diff, data)
