"""RMSProp: h = rms_decay * h + (1 - rms_decay) * g^2; w -= rate * g / (sqrt(h) + delta).

Source: Caffe's RMSPropSolver; Tieleman and Hinton 2012.
"""

from __future__ import annotations

from nst.backend import Array
from nst.solvers.gradient_rule import GradientRule


class RMSProp(GradientRule):
    """Rates per value that follow the recent size of the gradient."""

    type = "RMSProp"
    momentum_refused = True

    def _step(self, diff: Array, history: list[Array], rate: float) -> None:
        (h,) = history
        decay = self.param.rms_decay
        h *= decay
        h += (1.0 - decay) * diff * diff
        diff /= self.net.backend.xp.sqrt(h) + self.param.delta
        diff *= rate
