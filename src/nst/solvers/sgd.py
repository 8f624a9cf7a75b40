"""SGD with momentum: h = momentum * h + rate * g; w -= h. Source: Caffe's SGDSolver."""

from __future__ import annotations

from nst.backend import Array
from nst.solvers.gradient_rule import GradientRule


class SGD(GradientRule):
    """Stochastic gradient descent with momentum."""

    type = "SGD"

    def _step(self, data: Array, diff: Array, history: list[Array], rate: float) -> None:
        self.net.backend.sgd_step(data, diff, history[0], rate, self.param.momentum)
