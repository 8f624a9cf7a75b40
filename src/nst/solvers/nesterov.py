"""Nesterov's accelerated gradient: h' = momentum * h + rate * g; w -= (1 + momentum) * h' - momentum * h.

Source: Caffe's NesterovSolver; Sutskever et al. 2013.
"""

from __future__ import annotations

from nst.backend import Array
from nst.solvers.gradient_rule import GradientRule


class Nesterov(GradientRule):
    """SGD whose gradient counts as taken after the momentum step."""

    type = "Nesterov"

    def _step(self, data: Array, diff: Array, history: list[Array], rate: float) -> None:
        (h,) = history
        momentum = self.param.momentum
        old = momentum * h
        h *= momentum
        h += rate * diff
        diff[...] = (1.0 + momentum) * h - old
        self.net.backend.axpy(-1.0, diff, data)
