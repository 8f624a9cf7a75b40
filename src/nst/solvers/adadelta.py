"""AdaDelta: steps in the units of the parameters, from running means of squared gradients and steps.

    h1 = momentum * h1 + (1 - momentum) * g^2
    u  = sqrt((h2 + delta) / (h1 + delta)) * g
    h2 = momentum * h2 + (1 - momentum) * u^2
    w -= rate * u

Source: Caffe's AdaDeltaSolver (momentum is the decay); Zeiler 2012.
"""

from __future__ import annotations

from nst.backend import Array
from nst.solvers.gradient_rule import GradientRule


class AdaDelta(GradientRule):
    """Needs no tuned rate: base_lr 1 is the paper's."""

    type = "AdaDelta"
    moments = 2

    def _step(self, data: Array, diff: Array, history: list[Array], rate: float) -> None:
        gradients, steps = history
        decay, delta = self.param.momentum, self.param.delta
        gradients *= decay
        gradients += (1.0 - decay) * diff * diff
        diff *= self.net.backend.xp.sqrt((steps + delta) / (gradients + delta))
        steps *= decay
        steps += (1.0 - decay) * diff * diff
        diff *= rate
        self.net.backend.axpy(-1.0, diff, data)
