"""Learning rate policies against their formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest

from nst.errors import UsageError
from nst.proto import SolverParameter
from nst.solvers.lr_policy import LearningRate


def policy(name: str, **settings: Any) -> LearningRate:
    return LearningRate(SolverParameter(lr_policy=name, base_lr=0.5, **settings))


@pytest.mark.parametrize(
    ("made", "iteration", "expected"),
    [
        (policy("fixed"), 7, 0.5),
        (policy("step", gamma=0.5, stepsize=3), 2, 0.5),
        (policy("step", gamma=0.5, stepsize=3), 7, 0.125),
        (policy("exp", gamma=0.75), 3, 0.5 * 0.75**3),
        (policy("inv", gamma=0.25, power=0.75), 8, 0.5 * 3**-0.75),
        (policy("poly", power=2, max_iter=10), 4, 0.5 * 0.6**2),
        (policy("sigmoid", gamma=0.5, stepsize=6), 2, 0.5 / (1 + math.exp(2))),
    ],
)
def test_a_policy_follows_its_formula(made: LearningRate, iteration: int, expected: float) -> None:
    assert made.advance(iteration) == pytest.approx(expected, rel=1e-12)


def test_multistep_drops_at_each_stepvalue() -> None:
    made = policy("multistep", gamma=0.5, stepvalue=[2, 5])

    assert [made.advance(i) for i in range(7)] == [0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125]


def test_multistep_takes_one_drop_per_iteration() -> None:
    made = policy("multistep", gamma=0.5, stepvalue=[2, 2])

    assert [made.advance(i) for i in range(4)] == [0.5, 0.5, 0.25, 0.125]


def test_peeking_does_not_advance_multistep() -> None:
    made = policy("multistep", gamma=0.5, stepvalue=[2, 2])

    assert [made.peek(2), made.peek(2), made.advance(2)] == [0.25, 0.25, 0.25]


def test_poly_stays_at_zero_past_its_end() -> None:
    assert policy("poly", power=0.5, max_iter=10).advance(12) == 0.0


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("cosine", {}, "Unknown learning rate policy: cosine"),
        ("", {}, "Unknown learning rate policy"),
        ("fixd", {}, r"Did you mean 'fixed'\?"),
        ("step", {"gamma": 0.1}, r"stepsize: lr_policy 'step' needs one \(got 0, expected > 0\)"),
        ("sigmoid", {"gamma": -1, "stepsize": 3}, "gamma.*expected >= 0"),
        ("sigmoid", {"gamma": 1}, "stepsize"),
        ("poly", {"power": 1}, "max_iter"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(
    name: str, settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        policy(name, **settings)
