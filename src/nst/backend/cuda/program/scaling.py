"""Powers of two that keep fp16 in its range: what a calibration run saw, as exponents.

Convolution, ReLU and pooling are positively homogeneous: weights and biases times powers of two give the same
features times known powers of two, exactly but for values below fp16's smallest. Gradients are linear.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

ACTIVATION_BITS = 11
"""Largest activation of the calibration run: 2^11, which leaves a factor 32 to fp16's largest, 65504."""

GRADIENT_BITS = 10
"""Largest gradient of the calibration run; what comes later may be 64 times as large."""

LIMIT = 60
"""No exponent is beyond this."""


def exponents(largest: Mapping[str, float]) -> dict[str, int]:
    """Exponent per key (gradients' keys begin with "d") from the largest magnitude that was seen."""
    return {
        key: _exponent(value, GRADIENT_BITS if key.startswith("d") else ACTIVATION_BITS)
        for key, value in largest.items()
    }


def _exponent(largest: float, bits: int) -> int:
    if not 0 < largest < math.inf:
        return 0
    _, power = math.frexp(largest)  # largest <= 2^power
    return max(-LIMIT, min(LIMIT, bits - power))
