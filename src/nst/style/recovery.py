"""The divergence guard: what to do when the numbers of a run stop being finite.

It keeps the last good point: the picture with the smallest loss among those after every 10th iteration,
with the memory of a first-order rule. When the solver raises Diverged the run goes back to it, first-order
rules with half their rate and L-BFGS with an empty history, at most `MOST_RECOVERIES` times. Then the run
ends with its best picture. Nothing of it is silent: every recovery is logged and in the result.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nst.errors import Diverged
from nst.io.snapshot import Snapshot
from nst.solvers import GradientRule, IterationRecord
from nst.style.painter import Painter
from nst.style.progress import Recovery

log = logging.getLogger("nst.style")

Array = NDArray[Any]

MOST_RECOVERIES = 4
INTERVAL = 10
"""Iterations between candidates for the good point."""


@dataclass(frozen=True, eq=False)
class GoodPoint:
    """A picture whose loss is known to be finite, and what a first-order rule remembered there."""

    loss: float
    iteration: int
    picture: Array
    """(1, C, H, W), as the net sees it."""
    history: Sequence[Array] = ()
    current_step: int = 0

    def numbers(self) -> list[float]:
        """Loss, iteration and rate step, for snapshots; the rest is in `arrays`."""
        return [self.loss, self.iteration, self.current_step]

    def arrays(self) -> dict[str, Array]:
        """Picture and memory by name."""
        memory = {f"history/{i:03d}": array for i, array in enumerate(self.history)}
        return {"picture": self.picture, **memory}

    @classmethod
    def of(cls, numbers: Sequence[float], arrays: Mapping[str, Array]) -> GoodPoint:
        """The inverse of `numbers` and `arrays`."""
        loss, iteration, step = numbers
        memory = [arrays[name] for name in sorted(arrays) if name.startswith("history/")]
        return cls(loss, int(iteration), arrays["picture"], memory, int(step))


class DivergenceGuard:
    """Watches one painter at one size.

    Args:
        painter: freshly made; its solver has not run and no state was put into it.
        stage: index of the size.
        rate_factor: what base_lr is multiplied by already.
        recoveries: how often the run has gone back before, which counts.
    """

    def __init__(
        self, painter: Painter, stage: int, rate_factor: float, recoveries: Sequence[Recovery]
    ) -> None:
        self.painter = painter
        self.recoveries = list(recoveries)
        self.rate_factor = rate_factor
        self.good: GoodPoint | None = None
        self._stage = stage
        self._fresh = painter.solver.state()
        self._pending: GoodPoint | None = None
        self._spare: GoodPoint | None = None
        """What is no longer wanted: its memory is used again."""
        if rate_factor != 1:
            painter.restart(rate_factor)
            painter.put(painter.pixels(), self._fresh)  # with the moments of a smaller size

    @property
    def is_pending(self) -> bool:
        """Whether the present state waits for its loss."""
        return self._pending is not None

    def consider(self) -> None:
        """Makes the present state a candidate, whose loss the next iteration will tell."""
        solver, spare = self.painter.solver, self._spare
        picture = self.painter.pixels(spare.picture if spare else None)
        history, step = self._fresh.history, self._fresh.current_step
        if isinstance(solver, GradientRule):
            history = solver.remembered(spare.history if spare else ())
            step = solver.current_step
        self._pending, self._spare = GoodPoint(math.nan, solver.iter, picture, history, step), None

    def watch(self, record: IterationRecord) -> None:
        """Called after every iteration."""
        if self._pending is not None:
            self._spare = self._pending
            if self.good is None or record.loss <= self.good.loss:
                self._spare = self.good
                self.good = dataclasses.replace(self._pending, loss=record.loss)
            self._pending = None
        if record.iteration % INTERVAL == 0:
            self.consider()

    def recover(self, error: Diverged) -> bool:
        """Goes back to the good point, more carefully; returns False if there is nothing left to try."""
        self._pending = None
        if self.good is None or len(self.recoveries) >= MOST_RECOVERIES:
            self._show_best()
            return False
        self.rate_factor /= 2
        has_rate = self.painter.solver.uses_rate
        recovery = Recovery(
            stage=self._stage,
            failed_at=error.iteration,
            back_to=self.good.iteration,
            rate_factor=self.rate_factor,
            action=f"base_lr times {self.rate_factor:g}" if has_rate else "history forgotten",
            reason=str(error).partition(". ")[0],  # the rest is advice for when nothing is done
        )
        self.recoveries.append(recovery)
        log.warning("%s", recovery)
        self.painter.restart(self.rate_factor)
        self.painter.put(self.good.picture, self.good_state(self.good))
        self.consider()
        return True

    def good_state(self, good: GoodPoint) -> Snapshot:
        """The solver state that belongs to a good point: of L-BFGS only the iteration is left."""
        return dataclasses.replace(
            self._fresh,
            iteration=good.iteration,
            history=good.history,
            current_step=good.current_step,
            rng_state=self.painter.net.rng.state(),
        )

    def _show_best(self) -> None:
        """Leaves the better of the solver's best picture and the good point in the net."""
        best = self.painter.solver.best
        if self.good is not None and (best is None or not best.loss < self.good.loss):
            self.painter.put(self.good.picture, self.good_state(self.good))
        else:
            self.painter.show_best()
