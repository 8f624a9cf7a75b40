"""The line search on functions of one number."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nst.errors import UsageError
from nst.solvers.line_search import Trial, WolfeConditions, search

Function = Callable[[float], tuple[float, float]]

RULE = WolfeConditions()


class Probe:
    """A function with its derivative; remembers where it was measured."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.steps: list[float] = []

    def __call__(self, step: float) -> Trial:
        self.steps.append(step)
        return Trial(step, *self.function(step))

    @property
    def start(self) -> Trial:
        return Trial(0.0, *self.function(0.0))


def parabola(minimum: float) -> Function:
    return lambda t: ((t - minimum) ** 2, 2 * (t - minimum))


def more_thuente_1(t: float) -> tuple[float, float]:
    """Function 5.1 of Moré and Thuente 1994, beta = 2."""
    return -t / (t * t + 2), (t * t - 2) / (t * t + 2) ** 2


def more_thuente_2(t: float) -> tuple[float, float]:
    """Function 5.2, beta = 0.004."""
    u = t + 0.004
    return u**5 - 2 * u**4, 5 * u**4 - 8 * u**3


def more_thuente_3(t: float) -> tuple[float, float]:
    """Function 5.3, beta = 0.01, l = 39: wiggles all along."""
    beta, waves = 0.01, 39 * math.pi / 2
    wiggle = 2 * (1 - beta) / (39 * math.pi)
    if t <= 1 - beta:
        base, slope = 1 - t, -1.0
    elif t >= 1 + beta:
        base, slope = t - 1, 1.0
    else:
        base, slope = (t - 1) ** 2 / (2 * beta) + beta / 2, (t - 1) / beta
    return base + wiggle * math.sin(waves * t), slope + (1 - beta) * math.cos(waves * t)


def satisfies_strong_wolfe(start: Trial, trial: Trial) -> bool:
    falls = trial.loss <= start.loss + 1e-4 * trial.step * start.slope
    return falls and abs(trial.slope) <= 0.9 * abs(start.slope)


@pytest.mark.parametrize("function", [more_thuente_1, more_thuente_2, more_thuente_3])
@pytest.mark.parametrize("step", [1e-3, 1e-1, 1e1, 1e3])
def test_the_result_satisfies_the_strong_wolfe_conditions(function: Function, step: float) -> None:
    probe = Probe(function)

    found = search(probe, probe.start, step)

    assert found is not None
    assert satisfies_strong_wolfe(probe.start, found)
    assert len(probe.steps) <= 15


def test_a_good_first_step_costs_one_evaluation() -> None:
    probe = Probe(parabola(1.2))

    search(probe, probe.start, 1.0)

    assert probe.steps == [1.0]


def test_a_step_too_short_is_extended_at_most_tenfold() -> None:
    probe = Probe(parabola(7.0))

    search(probe, probe.start, 0.1)

    assert probe.steps == pytest.approx([0.1, 1.0])


def test_a_step_too_short_is_extended_to_the_minimum_of_a_parabola() -> None:
    probe = Probe(parabola(0.9))

    found = search(probe, probe.start, 0.09 - 1e-9)

    assert found is not None
    assert found.step == pytest.approx(0.9)
    assert len(probe.steps) == 2


def test_nothing_beyond_the_limit_is_tried() -> None:
    probe = Probe(parabola(100.0))

    found = search(probe, probe.start, 1.0, limit=2.0)

    assert found is not None
    assert found.step == 2.0
    assert max(probe.steps) == 2.0


def test_values_that_are_not_finite_count_as_too_far() -> None:
    probe = Probe(lambda t: (math.nan, math.nan) if t > 0.3 else parabola(0.25)(t))

    found = search(probe, probe.start, 5.0)

    assert found is not None
    assert found.loss < probe.start.loss


def test_a_decrease_lost_in_rounding_is_accepted_by_its_slope() -> None:
    probe = Probe(lambda t: (1.0, 2e-9 * (t - 1.0)))

    found = search(probe, probe.start, 1.0)

    assert found == Trial(1.0, 1.0, 0.0)


def test_there_is_no_result_where_the_loss_only_rises() -> None:
    probe = Probe(lambda t: (1.0 + t, -1.0))

    assert search(probe, probe.start, 1.0) is None
    assert len(probe.steps) <= RULE.max_trials


def test_a_direction_that_rises_is_refused() -> None:
    probe = Probe(parabola(-1.0))

    with pytest.raises(UsageError, match="not a descent direction"):
        search(probe, probe.start, 1.0)


@given(
    roots=st.lists(st.floats(-3, 3), min_size=1, max_size=4),
    scale=st.floats(1e-3, 1e3),
    step=st.floats(1e-4, 1e4),
)
def test_the_loss_never_rises(roots: list[float], scale: float, step: float) -> None:
    def wavy(t: float) -> tuple[float, float]:
        value = sum(math.cos(r * scale * t + r) for r in roots) + (scale * t - 1) ** 2
        slope = -sum(r * scale * math.sin(r * scale * t + r) for r in roots)
        return value, slope + 2 * scale * (scale * t - 1)

    probe = Probe(wavy)
    assume(probe.start.slope < -1e-6)

    found = search(probe, probe.start, step)

    assert found is not None
    assert found.loss <= probe.start.loss
    assert found.step in probe.steps
