"""What a run tells about itself: one record per iteration, the reason why it ended, the best values."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from nst.backend import Array
from nst.core.blob import Blob

NO_TERMS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class IterationRecord:
    """One finished iteration.

    `loss` is the objective as last measured: L-BFGS with line search measures at the values it moved to,
    the other rules at the values from which the update started. `smoothed_loss` is what Caffe displays:
    the mean over `average_loss` iterations of the loss at their start.
    """

    iteration: int
    """Updates made so far, from 1."""
    loss: float
    smoothed_loss: float
    loss_terms: Mapping[str, float]
    """Weighted loss of each loss blob; they sum to the loss, unless iter_size or weight decay add to it."""
    lr: float
    """Learning rate of the update; with a line search, the step length it found."""
    evaluations: int
    """Forward-backward passes so far."""
    gradient_norm: float | None = None
    """Euclidean norm of the gradient that belongs to `loss`, where the rule knows it."""


class StopReason(enum.Enum):
    """Why `step` or `solve` returned."""

    ITERATIONS = "all iterations done"
    REQUESTED = "stop was requested"
    CONVERGED = "the gradient is zero"
    NO_PROGRESS = "no step lowers the loss any further"


class SmoothedLoss:
    """Caffe's running mean of the last `window` losses of one call of `step`."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._losses: list[float] = []
        self._count = 0
        self.value = 0.0

    def add(self, loss: float) -> float:
        """Takes in the next loss and returns the mean."""
        if len(self._losses) < self._window:
            self._losses.append(loss)
            self.value += (loss - self.value) / len(self._losses)
        else:
            oldest = self._count % self._window
            self.value += (loss - self._losses[oldest]) / self._window
            self._losses[oldest] = loss
        self._count += 1
        return self.value


class BestValues:
    """A copy, on the device, of the parameters with the smallest loss seen."""

    def __init__(self) -> None:
        self.loss = float("inf")
        self.iteration = -1
        self._values: list[Array] = []

    def offer(self, loss: float, iteration: int, params: Sequence[Blob]) -> None:
        """Keeps the values of `params` if their loss is the smallest so far."""
        if not loss < self.loss:
            return
        if not self._values:
            self._values = [blob.backend.zeros(blob.shape, blob.dtype) for blob in params]
        for kept, blob in zip(self._values, params, strict=True):
            kept[...] = blob.data
        self.loss, self.iteration = loss, iteration

    def restore(self, params: Sequence[Blob]) -> None:
        """Puts the kept values back; does nothing if none were kept."""
        for kept, blob in zip(self._values, params, strict=bool(self._values)):
            blob.data[...] = kept
