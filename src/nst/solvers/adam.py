"""Adam: bias-corrected running means of the gradient and its square.

    m = momentum * m + (1 - momentum) * g
    v = momentum2 * v + (1 - momentum2) * g^2
    w -= rate * sqrt(1 - momentum2^t) / (1 - momentum^t) * m / (sqrt(v) + delta),
                                                                             t = steps_before + iter + 1

Source: Caffe's AdamSolver; Kingma and Ba 2015 (the form at the end of their section 2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from nst.backend import Array
from nst.solvers.gradient_rule import GradientRule


class Adam(GradientRule):
    """Steps of about the rate's size in every value, whatever the scale of the gradient."""

    type = "Adam"
    moments = 2

    def _step(self, data: Array, diff: Array, history: list[Array], rate: float) -> None:
        mean, square = history
        p = self.param
        rate *= self._correction(diff.dtype)
        decays = p.momentum, p.momentum2
        self.net.backend.adam_step(data, diff, (mean, square), rate, decays, p.delta)

    def _correction(self, dtype: DTypeLike) -> float:
        # In the precision of the parameters, as Caffe: 1 - beta2^t loses digits for small t.
        t, beta1, beta2 = np.array(
            [self.steps_before + self.iter + 1, self.param.momentum, self.param.momentum2], dtype
        )
        return float(np.sqrt(1 - beta2**t) / (1 - beta1**t))
