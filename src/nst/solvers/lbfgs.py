"""L-BFGS with a strong Wolfe line search on the true loss; with bounds, its projected form.

    d = -H g            H from the last `lbfgs_corrections` pairs of steps and gradient changes
    x = x + t d         t from the line search: the loss never rises

With bounds the values at a limit that the gradient pushes outwards are held (the active set), H acts on
the others alone, and x + d is cut to the box before the search, so that every trial is feasible (two-metric
projection: Bertsekas 1982; Schmidt, Kim and Sra 2011).

The loss is the net's, plus L2 weight decay, meaned over iter_size; the net must give the same loss for the
same values. base_lr and lr_policy are not used; lr_mult scales the steps of a parameter, 0 freezes it.
Source: Nocedal and Wright 2006, chapter 7. For the rule without line search see `lbfgs_fixed_step`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nst.backend import Array
from nst.errors import Diverged, SnapshotError, UsageError
from nst.io.snapshot import Snapshot
from nst.proto import SolverParameter
from nst.solvers.contract import TrainableNet
from nst.solvers.curvature import CurvaturePairs
from nst.solvers.line_search import Trial, search
from nst.solvers.record import IterationRecord, StopReason
from nst.solvers.snapshot import RuleMemory
from nst.solvers.solver import Solver
from nst.solvers.variables import Variables

PATIENCE = 10
"""Iterations in a row whose loss is equal to the last digit before the run counts as done."""


class LBFGS(Solver):
    """The solver for pictures: few evaluations, no rate to tune, a loss that falls monotonically.

    Memory: 2 * lbfgs_corrections + 5 vectors of the parameters' size, 3 more with bounds.
    """

    type = "LBFGS"
    uses_rate = False

    def __init__(self, param: SolverParameter, net: TrainableNet, **options: Any) -> None:
        super().__init__(param, net, **options)
        _check(param)
        self._variables = Variables(net)
        self._backend = net.backend
        self._x, self._x_new, self._d, self._g, self._g_new = (
            self._variables.vector() for _ in range(5)
        )
        self._limits = self._variables.limits(net.learnable_params, self.bounds)
        self._pairs = CurvaturePairs(
            correction_pairs(param), self._x.size, self._x.dtype, net.backend
        )
        self._start = Trial(0.0, math.inf, 0.0)
        self._known = False
        self._stalled = 0
        self._last_step = 0.0

    # ---- the frame's hooks ------------------------------------------------------------------------

    def _begin(self) -> None:
        super()._begin()
        self._known = False

    def _evaluate(self) -> float:
        """The loss at the current values: measured by the last line search, unless `step` has just begun."""
        if not self._known:
            self._project()
            self._variables.read_values(self._x)
            self._start = self._measure(self._x, self._g, 0.0)
            self._known = True
        return self._start.loss

    def _update(self, rate: float) -> StopReason | None:
        self._evaluate()
        squares = self._backend.dot(self._g, self._g)
        if not math.isfinite(squares):
            raise Diverged("the gradient is no longer finite", iteration=self.iter)
        if self._stalled >= PATIENCE:
            self._stalled = 0
            return StopReason.NO_PROGRESS
        while squares > 0:
            start, limit = self._choose_direction()
            if start is None:
                return StopReason.CONVERGED
            accepted = search(self._try, start, 1.0, limit=limit)
            if accepted is not None:
                self._accept(accepted)
                return None
            if len(self._pairs) == 0:
                self._variables.write_values(self._x)
                return StopReason.NO_PROGRESS
            self._pairs.clear()
        return StopReason.CONVERGED

    def _record(self, loss: float, rate: float) -> IterationRecord:
        norm = math.sqrt(self._backend.dot(self._g, self._g))
        terms = self.net.loss_terms()
        smoothed = self._smoothed.value
        return IterationRecord(
            self.iter, self._start.loss, smoothed, terms, self._last_step, self.evaluations, norm
        )

    # ---- one iteration ------------------------------------------------------------------------------

    def _choose_direction(self) -> tuple[Trial | None, float]:
        """Fills the direction; returns the trial at step 0 and the longest feasible step."""
        free = self._free()
        for quasi_newton in (True, False):
            self._backend.xp.negative(self._g, out=self._d)
            if free is not None:
                self._d *= free
            if quasi_newton and len(self._pairs):
                self._pairs.apply(self._d, free)
            else:
                self._d *= self._first_step()
            limit = self._cut_to_box()
            slope = self._backend.dot(self._g, self._d)
            if self._descends(slope):
                return Trial(0.0, self._start.loss, slope), limit
            if self._limits is None:
                # H is positive definite unless rounding spoilt it; cutting to a box is another matter.
                self._pairs.clear()
        return None, 0.0

    def _descends(self, slope: float) -> bool:
        """Whether the direction goes down by more than rounding can fake."""
        size = self._backend.dot(self._g, self._g) * self._backend.dot(self._d, self._d)
        return slope < -float(np.finfo(self._d.dtype).eps) * math.sqrt(size)

    def _first_step(self) -> float:
        """How far to go along -g without curvature: the scale of earlier pairs, else a guess.

        The guess: the step that would end at loss 0 if the loss were quadratic and its curvature equal
        in all directions, but no change above the largest value.
        """
        if self._pairs.scale > 0:
            return self._pairs.scale
        xp, dot = self._backend.xp, self._backend.dot
        guess = abs(self._start.loss) / dot(self._g, self._g) or 1e-3
        largest, steepest = float(xp.abs(self._x).max()), float(xp.abs(self._g).max())
        return min(guess, largest / steepest) if largest > 0 else guess

    def _try(self, step: float) -> Trial:
        """Loss and slope at x + step * d; leaves values and gradient there in the `_new` vectors."""
        self._x_new[...] = self._x
        self._backend.axpy(step, self._d, self._x_new)
        if self._limits is not None:
            self._backend.xp.clip(self._x_new, *self._limits, out=self._x_new)
        self._variables.write_values(self._x_new)
        trial = self._measure(self._x_new, self._g_new, step)
        self._last_step = step
        return trial

    def _measure(self, x: Array, gradient: Array, step: float) -> Trial:
        """Evaluates the net at `x`, which its parameters hold, and reads the gradient."""
        loss = self._forward_backward()
        self._variables.read_gradient(gradient)
        if self.param.iter_size > 1:
            gradient /= self.param.iter_size
        loss += self._variables.add_decay(self.param.weight_decay, x, gradient)
        return Trial(step, loss, self._backend.dot(gradient, self._d))

    def _accept(self, trial: Trial) -> None:
        """Moves to an accepted trial and learns from the pair."""
        if self._last_step != trial.step:
            trial = self._try(trial.step)
        xp = self._backend.xp
        s = xp.subtract(self._x_new, self._x, out=self._x)
        y = xp.subtract(self._g_new, self._g, out=self._g)
        self._pairs.push(s, y)
        self._stalled = self._stalled + 1 if trial.loss == self._start.loss else 0
        self._x, self._x_new = self._x_new, self._x
        self._g, self._g_new = self._g_new, self._g
        self._start = trial

    # ---- bounds ---------------------------------------------------------------------------------------

    def _free(self) -> Array | None:
        """1 where a value may move, 0 where the gradient pushes it out of its box; None if all may."""
        if self._limits is None:
            return None
        lower, upper = self._limits
        held = ((self._x <= lower) & (self._g > 0)) | ((self._x >= upper) & (self._g < 0))
        return (~held).astype(self._x.dtype) if bool(held.any()) else None

    def _cut_to_box(self) -> float:
        """Shortens the direction so that x + d is feasible; returns the longest feasible step."""
        if self._limits is None:
            return math.inf
        xp, d = self._backend.xp, self._d
        lower, upper = self._limits
        d += self._x
        xp.clip(d, lower, upper, out=d)
        d -= self._x
        room = xp.where(d > 0, upper - self._x, lower - self._x)
        moving = d != 0
        ratio = xp.where(moving, room, 1.0) / xp.where(moving, d, 1.0)
        return max(1.0, float(xp.where(moving, ratio, math.inf).min()))

    # ---- snapshots --------------------------------------------------------------------------------------

    def _memory(self) -> RuleMemory:
        stalled = {"lbfgs/stalled": np.array([float(self._stalled)])}
        return RuleMemory(named={**self._pairs.memory(), **stalled})

    def _take_memory(self, snapshot: Snapshot, path: str) -> None:
        if "lbfgs/stalled" not in snapshot.state:
            raise SnapshotError("no memory of L-BFGS with line search in it", path=path)
        self._pairs.take(snapshot.state, path)
        self._stalled = int(snapshot.state["lbfgs/stalled"][0])


def correction_pairs(param: SolverParameter) -> int:
    """How many pairs to keep: lbfgs_corrections, but no more than max_iter can fill."""
    wanted = param.lbfgs_corrections
    if wanted < 1:
        raise UsageError(f"lbfgs_corrections: got {wanted}, expected at least 1")
    return min(wanted, param.max_iter) if param.max_iter > 0 else wanted


def _check(param: SolverParameter) -> None:
    """Refuses settings under which the gradient would not be that of the loss."""
    if param.clip_gradients >= 0:
        raise UsageError(
            "clip_gradients: a line search needs the true gradient "
            f"(got {param.clip_gradients:.6g}, expected none with type LBFGS)"
        )
    if param.weight_decay != 0 and param.regularization_type != "L2":
        raise UsageError(
            "regularization_type: a line search needs a smooth loss "
            f"(got {param.regularization_type!r}, expected L2 with type LBFGS)"
        )
