"""RMSProp: h = rms_decay * h + (1 - rms_decay) * g^2; w -= rate * g / (sqrt(h) + delta).

Source: Caffe's RMSPropSolver; Tieleman and Hinton 2012.
"""

from __future__ import annotations

from typing import Any

from nst.backend import Array
from nst.errors import UsageError
from nst.proto import SolverParameter
from nst.solvers.contract import TrainableNet
from nst.solvers.gradient_rule import GradientRule


class RMSProp(GradientRule):
    """Rates per value that follow the recent size of the gradient."""

    type = "RMSProp"
    momentum_refused = True

    def __init__(self, param: SolverParameter, net: TrainableNet, **options: Any) -> None:
        if not 0 <= param.rms_decay < 1:
            raise UsageError(
                "rms_decay: rms_decay should lie between 0 and 1. "
                f"(got {param.rms_decay:.6g}, expected 0 <= rms_decay < 1)"
            )
        super().__init__(param, net, **options)

    def _step(self, data: Array, diff: Array, history: list[Array], rate: float) -> None:
        (h,) = history
        decay = self.param.rms_decay
        h *= decay
        h += (1.0 - decay) * diff * diff
        diff /= self.net.backend.xp.sqrt(h) + self.param.delta
        diff *= rate
        self.net.backend.axpy(-1.0, diff, data)
