"""What a style run tells after every iteration, and when it had to go back."""

from __future__ import annotations

from dataclasses import dataclass

from nst.solvers import IterationRecord


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
