"""What a style run tells: after every iteration, when it had to go back, and at its end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nst.io.picture_transform import to_uint8
from nst.solvers import IterationRecord
from nst.style.gradient_shares import Shares

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Progress:
    """One finished iteration of a run, as displays, history files and pages want it."""

    stage: int
    """Which size, from 0."""
    size: tuple[int, int]
    """(height, width) of the picture at this size."""
    iteration: int
    """Iterations done at this size, from 1."""
    done: int
    """Iterations done at all sizes."""
    total: int
    """Iterations planned at all sizes."""
    record: IterationRecord
    elapsed_s: float


@dataclass(frozen=True)
class Recovery:
    """One divergence that the run survived by going back to its last good picture."""

    stage: int
    failed_at: int
    """Iteration, at this size, whose numbers were no longer finite."""
    back_to: int
    """Iteration, at this size, from which the run went on."""
    rate_factor: float
    """What base_lr is multiplied by from there on."""
    action: str
    """What was changed: the rate, or the history of a rule that has no rate."""
    reason: str

    def __str__(self) -> str:
        return (
            f"size {self.stage + 1}: {self.reason}. Went back to iteration {self.back_to}, "
            f"{self.action}"
        )


@dataclass(frozen=True)
class StyleResult:
    """What a run gives: the picture, every iteration, and how it ended."""

    pixels: Picture
    """RGB (H, W, 3) float32, 0 to 255, not rounded."""
    history: tuple[Progress, ...]
    stop_reason: str
    alpha: Picture | None = None
    """The content's transparency (h, w), 0 to 255, if it had any."""
    recoveries: tuple[Recovery, ...] = ()
    """Every time the run diverged and went on from its last good picture."""
    gradient_shares: tuple[Shares, ...] = ()
    """With `report_gradients`: at the end of each size, how much each loss term pulls at the picture."""
    painted: Picture | None = None
    """What was painted, before `color` brought the content's colours back."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture as bytes, RGB (H, W, 3), rounded."""
        return to_uint8(self.pixels)
