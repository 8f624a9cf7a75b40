"""Coefficients of the steps that take a matrix to its root and its inverse root (native/wasserstein.cu).

With M scaled to |M| = 1, its eigenvalues are s^2 with s in [l, 1]. A step turns s into a s + b s^3 + c s^5.
If each step is the best approximation of 1 on what the steps before it left, their composition is the best of
all (Amsel et al. 2025, "The Polar Express", Theorem 3.1). While s is small a step makes it 4.26 times larger;
the steps of Newton and Schulz (15/8, -10/8, 3/8), to which these tend, make it 1.875 times larger.
"""

from __future__ import annotations

from functools import cache

import numpy as np

Step = tuple[float, float, float]
"""a, b, c."""

SETTLED = 1e-14
"""The largest |s - 1| after the last step."""
_NARROW = 1e-3
"""|s - 1| from which on Newton-Schulz leaves less than its cube: its 2.5 e^3 is below rounding's of a fit."""
_EXCHANGES = 60


@cache
def inverse_root_steps(lowest: float) -> tuple[Step, ...]:
    """The fewest steps that bring every s in [lowest, 1] to 1."""
    low, high = lowest, 1.0
    steps: list[Step] = []
    while max(high - 1, 1 - low) > SETTLED:
        if max(high - 1, 1 - low) < _NARROW:
            step, error = (1.875, -1.25, 0.375), 2.5 * max(high - 1, 1 - low) ** 3
        else:
            step, error = best_quintic(low, high)
        steps.append(step)
        low, high = 1 - error, 1 + error
    return tuple(steps)


def best_quintic(low: float, high: float) -> tuple[Step, float]:
    """a, b, c that minimise the largest |a s + b s^3 + c s^5 - 1| over [low, high], and that error, by Remez'
    exchange: the error takes its largest value at four places, with alternating signs."""
    inner = np.array([(3 * low + high) / 4, (low + 3 * high) / 4])
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    for _ in range(_EXCHANGES):
        s = np.array([low, *inner, high])
        a, b, c, error = np.linalg.solve(np.stack([s, s**3, s**5, signs], 1), np.ones(4))
        extremes = np.sqrt(np.sort(np.roots([5 * c, 3 * b, a]).real))
        if np.allclose(extremes, inner, rtol=1e-14, atol=0):
            break
        inner = extremes
    return (float(a), float(b), float(c)), float(abs(error))
