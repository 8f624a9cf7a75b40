"""Line search: a step along a descent direction that satisfies the strong Wolfe conditions.

    decrease    f(t) <= f(0) + c1 * t * f'(0)
    curvature   |f'(t)| <= c2 * |f'(0)|

Bracketing and zooming as in Nocedal and Wright (2006, algorithms 3.5 and 3.6), with cubic interpolation.
In float32 a decrease can be smaller than the rounding of the loss; then Hager and Zhang's approximate
conditions count (2005, SIAM J. Optim. 16): slopes are still exact where values are not. Unlike theirs, a
step is never accepted at a loss above the one it started from. Works on numbers only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nst.errors import UsageError


@dataclass(frozen=True)
class Trial:
    """Loss and directional derivative at one step length."""

    step: float
    loss: float
    slope: float

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.slope)


@dataclass(frozen=True)
class WolfeConditions:
    """When a step is good enough, and how long to look for one.

    Defaults: the usual ones for quasi-Newton directions. `noise` is the relative change of the loss below
    which slopes decide; `growth` limits how much longer the next trial may be while no minimum is bracketed.
    """

    decrease: float = 1e-4
    curvature: float = 0.9
    approximate: float = 0.1
    noise: float = 1e-6
    max_trials: int = 20
    growth: float = 10.0

    def hold(self, start: Trial, trial: Trial) -> bool:
        """Whether the trial may be accepted."""
        if not trial.finite or trial.loss > start.loss:
            return False
        if not self.curvature * start.slope <= trial.slope <= -self.curvature * start.slope:
            return False
        if self.decreases(start, trial):
            return True
        is_settled = trial.slope <= (2.0 * self.approximate - 1.0) * start.slope
        return is_settled and self.is_noise(start, trial)

    def is_noise(self, start: Trial, trial: Trial) -> bool:
        """Whether the change of the loss may be nothing but rounding."""
        return abs(trial.loss - start.loss) <= self.noise * abs(start.loss)

    def decreases(self, start: Trial, trial: Trial) -> bool:
        """Whether the loss falls enough for the length of the step (Armijo's condition)."""
        bound = start.loss + self.decrease * trial.step * start.slope
        return trial.finite and trial.loss <= bound


Evaluate = Callable[[float], Trial]


def search(
    evaluate: Evaluate,
    start: Trial,
    step: float,
    *,
    limit: float = math.inf,
    conditions: WolfeConditions | None = None,
) -> Trial | None:
    """A step length in (0, limit] that satisfies the conditions.

    Args:
        evaluate: measures the objective at a step length; non-finite values are taken as too far.
        start: the trial at step 0; its slope must be negative.
        step: the first length to try.
        limit: the longest step allowed. There, a sufficient decrease alone is enough.

    Returns the trial accepted; if none was found in `max_trials`, the one with the lowest loss that is
    below the starting loss; None if there is none. Raises UsageError for a direction that does not descend.
    """
    if not start.slope < 0:
        raise UsageError(f"line search: not a descent direction (got slope {start.slope!r})")
    rule = conditions or WolfeConditions()
    bracket = _Bracket(start, rule)
    step = min(step, limit)
    for _ in range(rule.max_trials):
        trial = evaluate(step)
        if rule.hold(start, trial) or (step >= limit and bracket.open and bracket.improves(trial)):
            return trial
        bracket.add(trial)
        step = min(bracket.next_step(), limit)
        if bracket.exhausted(step):
            break
    return bracket.low if bracket.low.loss < start.loss else None


class _Bracket:
    """The interval known to hold an acceptable step: `low` is the best trial, `high` the other end."""

    def __init__(self, start: Trial, rule: WolfeConditions) -> None:
        self.start, self.rule = start, rule
        self.low = self.previous = start
        self.high: Trial | None = None
        self._width = math.inf
        self._slow = 0

    @property
    def open(self) -> bool:
        """Whether longer steps are still possible."""
        return self.high is None

    def improves(self, trial: Trial) -> bool:
        """Whether the trial is a sufficient decrease and better than all before."""
        return self.rule.decreases(self.start, trial) and trial.loss < self.low.loss

    def add(self, trial: Trial) -> None:
        """Takes in a trial that was not accepted."""
        if not self._is_lower(trial):
            self.high = trial
        else:
            if trial.slope * self._towards_high >= 0:
                self.high = self.low
            self.previous, self.low = self.low, trial
        if self.high is not None:
            width = abs(self.high.step - self.low.step)
            self._slow = self._slow + 1 if width > 2 / 3 * self._width else 0
            self._width = width

    def next_step(self) -> float:
        """Where to look next: beyond the last trial while open, else inside the interval."""
        if self.high is None:
            return self._extrapolate()
        a, b = self.low, self.high
        width = b.step - a.step
        if not b.finite:
            return a.step + 0.1 * width
        if self._slow >= 2:
            self._slow = 0
            return a.step + 0.5 * width
        share = (_minimum(a, b) - a.step) / width
        return a.step + width * min(max(share, 0.1), 0.9)

    def exhausted(self, step: float) -> bool:
        """Whether the next step can no longer be told from the best one."""
        return abs(step - self.low.step) <= 1e-10 * max(abs(step), abs(self.low.step))

    @property
    def _towards_high(self) -> float:
        """The sign of the way from `low` to `high`; onwards while open."""
        return 1.0 if self.high is None or self.high.step > self.low.step else -1.0

    def _is_lower(self, trial: Trial) -> bool:
        """Whether the trial is the new best: by its loss, or still downhill where losses are noise."""
        if self.improves(trial):
            return True
        is_flat = trial.loss <= self.low.loss and self.rule.is_noise(self.start, trial)
        return trial.finite and is_flat and trial.slope * self._towards_high < 0

    def _extrapolate(self) -> float:
        """The minimum of the cubic through the last two trials, between 1.1 and `growth` times as far."""
        near, far = self.previous, self.low
        if far.step == 0:
            return math.inf
        guess = _minimum(near, far)
        least, most = 1.1 * far.step, self.rule.growth * far.step
        return min(max(guess, least), most) if guess > far.step else most


def _minimum(a: Trial, b: Trial) -> float:
    """The minimiser of the cubic through two trials; by their slopes alone if it has none."""
    width = b.step - a.step
    theta = a.slope + b.slope - 3.0 * (b.loss - a.loss) / width
    root = theta * theta - a.slope * b.slope
    if root >= 0:
        gamma = math.copysign(math.sqrt(root), width)
        divisor = b.slope - a.slope + 2.0 * gamma
        if divisor != 0:
            return b.step - width * (b.slope + gamma - theta) / divisor
    return _secant(a, b)


def _secant(a: Trial, b: Trial) -> float:
    if b.slope == a.slope:
        return math.inf
    return b.step - b.slope * (b.step - a.step) / (b.slope - a.slope)
