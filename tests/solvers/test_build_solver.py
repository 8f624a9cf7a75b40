"""Choosing a solver by its type."""

from __future__ import annotations

import numpy as np
import pytest
from solvers.objectives import ObjectiveNet, quadratic

from nst.errors import UsageError
from nst.proto import SolverParameter
from nst.solvers import SOLVERS, Solver, build_solver


def net() -> ObjectiveNet:
    return ObjectiveNet(quadratic([1.0]), [np.ones(1)])


@pytest.mark.parametrize("rule", SOLVERS)
@pytest.mark.parametrize("spell", [str, str.lower, str.upper])
def test_types_match_in_any_case(rule: type[Solver], spell: type[str]) -> None:
    param = SolverParameter(type=spell(rule.type), lr_policy="fixed", base_lr=0.1)

    assert type(build_solver(param, net())) is rule


@pytest.mark.parametrize("rule", SOLVERS)
def test_every_solver_lowers_a_parabola(rule: type[Solver]) -> None:
    param = SolverParameter(type=rule.type, lr_policy="fixed", base_lr=0.1, max_iter=20)
    made = net()

    build_solver(param, made).step(20)

    assert 0 <= made.values[0] < 1


def test_an_unknown_type_lists_the_known_ones() -> None:
    param = SolverParameter(type="Foo", lr_policy="fixed")
    text = (
        r"type: Unknown solver type: Foo \(got 'Foo', known types: "
        "AdaDelta, AdaGrad, Adam, LBFGS, Nesterov, RMSProp, SGD"
    )

    with pytest.raises(UsageError, match=text):
        build_solver(param, net())


def test_a_mistyped_type_gets_a_hint() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'Nesterov'\?"):
        build_solver(SolverParameter(type="Nestorov", lr_policy="fixed"), net())
