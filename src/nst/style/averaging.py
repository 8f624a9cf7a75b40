"""The mean of iterates: smooths the picture of a rule whose steps never get small.

Either over a window, the last ones, or over all with weights that fall by a factor from each iterate to the
one before it: an exponential running mean, free of the bias to its start.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.errors import UsageError
from nst.proto import StyleTransferParameter

Array = NDArray[Any]


class IterateMean:
    """The weighted mean of the pictures from iteration `first` on, counted from 1; 0 is the start picture.

    It is summed in float64, so that a run that was resumed ends with the same bits.
    """

    def __init__(self, first: float, decay: float = 1.0) -> None:
        self._first = first
        self._decay = decay
        self.total: Array | None = None
        self.count = 0.0
        """Sum of the weights so far; the newest picture has 1."""

    @classmethod
    def of(cls, style: StyleTransferParameter, iterations: int) -> IterateMean:
        """As `average_iterates` or `average_decay` ask for; of no picture at all if neither is set."""
        window, decay = style.average_iterates, style.average_decay
        if not 0 <= decay < 1:
            raise UsageError(f"average_decay: got {decay}, expected 0 (off) to less than 1")
        if window and decay:
            raise UsageError(
                f"average_iterates: a window or average_decay, not both (got {window} and {decay})"
            )
        if decay:
            return cls(0, decay)
        return cls(max(1, iterations - window + 1) if window else math.inf)

    def add(self, iteration: int, pixels: Array) -> None:
        """Takes in the picture after an iteration, if the mean is to hold it."""
        if iteration < self._first:
            return
        exact = pixels.astype(np.float64)
        self.total = exact if self.total is None else self._decay * self.total + exact
        self.count = self._decay * self.count + 1

    def forget(self) -> None:
        """Begins anew: the run went back to an earlier picture."""
        self.total, self.count = None, 0.0

    @property
    def is_on(self) -> bool:
        return self._first < math.inf

    @property
    def mean(self) -> NDArray[np.float32] | None:
        """The mean picture, None before the first that it holds."""
        return None if self.total is None else (self.total / self.count).astype(np.float32)
