"""The mean of the last iterates: smooths the picture of a rule whose steps never get small."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class IterateMean:
    """The mean of the last `window` of `iterations` pictures; of fewer if the run is stopped before.

    It is summed in float64, so that a run that was resumed ends with the same bits.
    """

    def __init__(self, window: int, iterations: int) -> None:
        self._first = iterations - window
        self.total: Array | None = None
        self.count = 0

    def add(self, iteration: int, pixels: Array) -> None:
        """Takes in the picture after an iteration, counted from 1, if it is among the last ones."""
        if iteration > self._first:
            exact = pixels.astype(np.float64)
            self.total = exact if self.total is None else self.total + exact
            self.count += 1

    def forget(self) -> None:
        """Begins anew: the run went back to an earlier picture."""
        self.total, self.count = None, 0

    @property
    def mean(self) -> NDArray[np.float32] | None:
        """The mean picture, None before the first of the last iterations."""
        return None if self.total is None else (self.total / self.count).astype(np.float32)
