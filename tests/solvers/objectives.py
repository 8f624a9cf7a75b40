"""Small nets of one objective each, for solver tests: no layers, exact gradients, known minima."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nst.backend.numpy_backend import NumpyBackend
from nst.core.blob import Blob
from nst.core.random import RandomSource

Values = list[NDArray[Any]]
Objective = Callable[[Values], tuple[float, Values]]


class ObjectiveNet:
    """A net whose loss is a function of its parameters: the part of nst.net.Net that solvers use."""

    def __init__(
        self,
        objective: Objective,
        start: Sequence[NDArray[Any]],
        *,
        lr: Sequence[float] | None = None,
        decay: Sequence[float] | None = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.name = "objective"
        self.backend = NumpyBackend()
        self.rng = RandomSource(1)
        self.objective = objective
        self.learnable_params = []
        for i, value in enumerate(start):
            blob = Blob(self.backend, value.shape, dtype=dtype, name=f"w{i}")
            blob.data[...] = value
            self.learnable_params.append(blob)
        self.params_lr = list(lr or [1.0] * len(start))
        self.params_weight_decay = list(decay or [1.0] * len(start))
        self.blobs = {"loss": Blob(self.backend, (), dtype=dtype, name="loss")}
        self.blobs["loss"].diff[...] = 1
        self.outputs = ["loss"]
        self.layers: list[Any] = []
        self.after_forward: list[Callable[[int], None]] = []
        self.after_backward: list[Callable[[int], None]] = []
        self.losses: list[float] = []

    @property
    def values(self) -> Values:
        return [np.array(blob.data) for blob in self.learnable_params]

    def bottoms_of(self, index: int) -> Sequence[Blob]:
        return []

    def tops_of(self, index: int) -> Sequence[Blob]:
        return []

    def clear_param_diffs(self) -> None:
        for blob in self.learnable_params:
            blob.diff[...] = 0

    def forward_from_to(self) -> float:
        loss, _ = self.objective([blob.data for blob in self.learnable_params])
        self.blobs["loss"].data[...] = loss
        return float(loss)

    def forward_backward(self) -> float:
        loss, gradients = self.objective([blob.data for blob in self.learnable_params])
        for blob, gradient in zip(self.learnable_params, gradients, strict=True):
            blob.diff[...] += gradient
        self.blobs["loss"].data[...] = loss
        self.losses.append(float(loss))
        return float(loss)

    def loss_terms(self) -> Mapping[str, float]:
        return {"loss": float(self.blobs["loss"].data)}

    def find_non_finite(self) -> str:
        bad = [b.name for b in self.learnable_params if not np.isfinite(b.data).all()]
        return f"layer 'objective', blob '{bad[0]}'" if bad else "layer 'objective', blob 'loss'"

    def share_trained_layers_with(self, other: Any) -> None:
        for mine, theirs in zip(self.learnable_params, other.learnable_params, strict=True):
            mine.share_data(theirs)


def quadratic(diagonal: Sequence[float]) -> Objective:
    """1/2 x^T diag(a) x over one parameter."""
    a = np.asarray(diagonal)

    def objective(values: Values) -> tuple[float, Values]:
        (x,) = values
        return 0.5 * float(np.sum(a * x * x)), [a * x]

    return objective


def rosenbrock(values: Values) -> tuple[float, Values]:
    """sum 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2: a curved valley, minimum 0 at ones."""
    (x,) = values
    bend, rest = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * bend - 2 * rest
    gradient[1:] += 200 * bend
    return float(np.sum(100 * bend**2 + rest**2)), [gradient]


def least_squares(features: NDArray[Any], targets: NDArray[Any]) -> Objective:
    """1/(2N) sum (X w + b - y)^2 over a weight vector and a bias."""
    count = len(features)

    def objective(values: Values) -> tuple[float, Values]:
        w, b = values
        error = features @ w + b - targets
        return 0.5 * float(error @ error) / count, [features.T @ error / count, error.sum() / count]

    return objective


def gram_of_filters(seed: int) -> tuple[Objective, NDArray[Any]]:
    """Matching the Gram matrix of random filters, rectified: style transfer in one layer; and a start."""
    rng = np.random.default_rng(seed)
    size, patch, filters = 60, 5, 8
    bank = rng.normal(size=(filters, patch)) / np.sqrt(patch)
    columns = np.arange(size - patch + 1)[None, :] + np.arange(patch)[:, None]

    def features(x: NDArray[Any]) -> NDArray[Any]:
        return np.maximum(bank @ x[columns], 0)

    wanted = features(100 * np.sin(np.arange(size) * 0.7) * rng.uniform(size=size))
    target = wanted @ wanted.T / columns.shape[1]

    def objective(values: Values) -> tuple[float, Values]:
        (x,) = values
        active = features(x)
        error = active @ active.T / columns.shape[1] - target
        back = bank.T @ ((4 * error @ active / columns.shape[1]) * (active > 0))
        gradient = np.zeros_like(x)
        np.add.at(gradient, columns, back)
        return float(np.sum(error**2)), [gradient]

    return objective, 20 * rng.normal(size=size)
