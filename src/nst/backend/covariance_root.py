"""What the squared Wasserstein distance needs of its target: the root of a covariance with a ridge.

It is here because the layer takes it on the backend's arrays and compiled nets take it on the host.
"""

from __future__ import annotations

from typing import Any

Array = Any


class CovarianceRoot:
    """Of raw moments (C, 1 + C) of one target, in float64.

    mean (C,); root (C, C) of the covariance with `share` on its diagonal, `trace` of that; mean_square of the
    features. share = epsilon * tr T / C. `floor` is below every eigenvalue of T^1/2 S T^1/2 that is more than
    rounding, since S >= share I.
    """

    def __init__(self, xp: Any, moments: Array, epsilon: float) -> None:
        exact = moments.astype("float64")
        self.mean = exact[:, 0]
        covariance = exact[:, 1:] - xp.outer(self.mean, self.mean)
        self.share = epsilon * max(float(covariance.trace()), 0.0) / len(exact)
        values, vectors = xp.linalg.eigh(covariance + self.share * xp.eye(len(exact)))
        values = values.clip(self.share, None)
        self.root = (vectors * values**0.5) @ vectors.T
        self.trace = float(values.sum())
        rounding = 1e-24 * float(values[-1]) ** 2
        self.floor = max(0.5 * self.share * float(values[0]), rounding, 1e-300)
        self.mean_square = float(exact[:, 1:].trace())
