"""The first-order rules against scalar formulas, written out one value at a time in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from solvers.objectives import ObjectiveNet, Values, least_squares, quadratic

from nst.errors import UsageError
from nst.proto import SolverParameter
from nst.solvers import SOLVERS, GradientRule, build_solver

RULES = [rule.type for rule in SOLVERS if issubclass(rule, GradientRule)]
RATE, MOMENTUM, MOMENTUM2, RMS_DECAY, DELTA = 0.05, 0.75, 0.96875, 0.9375, 0.0009765625
STEPS = 6

Update = Callable[[float, list[float], int], float]
"""(gradient, memory of this value, t from 1) -> the step to subtract."""


def sgd(g: float, memory: list[float], t: int) -> float:
    memory[0] = MOMENTUM * memory[0] + RATE * g
    return memory[0]


def nesterov(g: float, memory: list[float], t: int) -> float:
    old, memory[0] = memory[0], MOMENTUM * memory[0] + RATE * g
    return (1 + MOMENTUM) * memory[0] - MOMENTUM * old


def adagrad(g: float, memory: list[float], t: int) -> float:
    memory[0] += g * g
    return RATE * g / (math.sqrt(memory[0]) + DELTA)


def rmsprop(g: float, memory: list[float], t: int) -> float:
    memory[0] = RMS_DECAY * memory[0] + (1 - RMS_DECAY) * g * g
    return RATE * g / (math.sqrt(memory[0]) + DELTA)


def adadelta(g: float, memory: list[float], t: int) -> float:
    memory[0] = MOMENTUM * memory[0] + (1 - MOMENTUM) * g * g
    step = math.sqrt((memory[1] + DELTA) / (memory[0] + DELTA)) * g
    memory[1] = MOMENTUM * memory[1] + (1 - MOMENTUM) * step * step
    return RATE * step


def adam(g: float, memory: list[float], t: int) -> float:
    memory[0] = MOMENTUM * memory[0] + (1 - MOMENTUM) * g
    memory[1] = MOMENTUM2 * memory[1] + (1 - MOMENTUM2) * g * g
    correction = math.sqrt(1 - MOMENTUM2**t) / (1 - MOMENTUM**t)
    return RATE * correction * memory[0] / (math.sqrt(memory[1]) + DELTA)


FORMULAS: dict[str, Update] = {
    "SGD": sgd,
    "Nesterov": nesterov,
    "AdaGrad": adagrad,
    "RMSProp": rmsprop,
    "AdaDelta": adadelta,
    "Adam": adam,
}


def param(rule: str, **settings: Any) -> SolverParameter:
    message = SolverParameter(type=rule, base_lr=RATE, lr_policy="fixed", delta=DELTA, max_iter=99)
    message.momentum2, message.rms_decay = MOMENTUM2, RMS_DECAY
    message.momentum = 0.0 if rule in ("AdaGrad", "RMSProp") else MOMENTUM
    for name, value in settings.items():
        setattr(message, name, value)
    return message


def regression(**options: Any) -> ObjectiveNet:
    rng = np.random.default_rng(3)
    objective = least_squares(rng.normal(size=(7, 3)), rng.normal(size=7))
    return ObjectiveNet(objective, [rng.normal(size=3), np.array(0.25)], **options)


def by_hand(
    net: ObjectiveNet, update: Update, change: Callable[[Values, Values], Values]
) -> Values:
    """STEPS updates of every value; `change(values, gradients)` does what comes before the rule."""
    values = net.values
    memory = [[[0.0, 0.0] for _ in range(value.size)] for value in values]
    for t in range(1, STEPS + 1):
        gradients = change(values, net.objective(values)[1])
        for value, gradient, rows in zip(values, gradients, memory, strict=True):
            for i, g in enumerate(np.asarray(gradient).flat):
                value.flat[i] -= update(float(g), rows[i], t)
    return values


def assert_equal(net: ObjectiveNet, expected: Values) -> None:
    for ours, value in zip(net.values, expected, strict=True):
        np.testing.assert_allclose(ours, value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_follows_its_formula(rule: str) -> None:
    net = regression()
    expected = by_hand(net, FORMULAS[rule], lambda _, gradients: gradients)

    build_solver(param(rule, base_lr=RATE), net).step(STEPS)

    assert_equal(net, expected)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("kind", "pull"), [("L2", lambda w: w), ("L1", np.sign)])
def test_weight_decay_adds_to_the_gradient(rule: str, kind: str, pull: Any) -> None:
    net = regression(decay=[1.0, 3.0])
    expected = by_hand(
        net,
        FORMULAS[rule],
        lambda w, g: [g[0] + 0.125 * pull(w[0]), g[1] + 0.375 * pull(w[1])],
    )

    build_solver(param(rule, weight_decay=0.125, regularization_type=kind), net).step(STEPS)

    assert_equal(net, expected)


@pytest.mark.parametrize("rule", RULES)
def test_iter_size_takes_the_mean_gradient(rule: str) -> None:
    net = regression()
    expected = by_hand(net, FORMULAS[rule], lambda _, gradients: gradients)

    build_solver(param(rule, iter_size=3), net).step(STEPS)

    assert_equal(net, expected)
    assert len(net.losses) == 3 * STEPS


def test_clipping_comes_before_the_division_by_iter_size() -> None:
    net = regression()
    norm = math.sqrt(sum(float(np.sum(g * g)) for g in net.objective(net.values)[1]))
    assert 2 * norm > 0.5

    build_solver(param("SGD", iter_size=2, clip_gradients=0.5), net).step(1)

    expected = [
        w - RATE * g / norm * 0.5 / 2
        for w, g in zip(
            regression().values, regression().objective(regression().values)[1], strict=True
        )
    ]
    assert_equal(net, expected)


def test_small_gradients_are_not_clipped() -> None:
    net, free = regression(), regression()

    build_solver(param("SGD", clip_gradients=1e6), net).step(STEPS)
    build_solver(param("SGD"), free).step(STEPS)

    assert_equal(net, free.values)


def test_the_gradient_norm_is_told_where_clipping_needs_it() -> None:
    net = regression()
    norm = math.sqrt(sum(float(np.sum(g * g)) for g in net.objective(net.values)[1]))
    solver = build_solver(param("SGD", clip_gradients=1e6, iter_size=2), net)
    norms: list[float | None] = []
    solver.on_iteration.append(lambda record: norms.append(record.gradient_norm))

    solver.step(1)

    assert norms == [pytest.approx(norm)]


@pytest.mark.parametrize("rule", RULES)
def test_lr_mult_scales_the_rate_of_a_parameter(rule: str) -> None:
    net = ObjectiveNet(quadratic([1.0, 2.0]), [np.array([1.0, -1.0])], lr=[0.5])
    same = ObjectiveNet(quadratic([1.0, 2.0]), [np.array([1.0, -1.0])])

    build_solver(param(rule, base_lr=0.25), net).step(STEPS)
    build_solver(param(rule, base_lr=0.125), same).step(STEPS)

    assert_equal(net, same.values)


@pytest.mark.parametrize("rule", RULES)
def test_a_frozen_parameter_stays_and_gets_no_gradient_memory(rule: str) -> None:
    net = regression(lr=[1.0, 0.0])
    net.clear_param_diffs = lambda: net.learnable_params[0].diff.fill(0)  # type: ignore[method-assign]
    values = net.values
    net.objective = lambda w: (1.0, [np.ones(3), np.array(0.0)])
    build_solver(param(rule, weight_decay=0.5), net).step(2)

    np.testing.assert_array_equal(net.values[1], values[1])


@pytest.mark.parametrize("rule", RULES)
def test_bounds_hold_after_every_update(rule: str) -> None:
    net = ObjectiveNet(lambda w: (float(np.sum(w[0])), [np.ones(4)]), [np.zeros(4)])
    lower = np.array([-0.01, -0.02, -np.inf, 0.0])
    solver = build_solver(param(rule), net, bounds=[(lower, None)])

    solver.step(40)

    assert (net.values[0] >= lower).all()
    assert net.values[0][3] == 0.0
    assert net.values[0][2] < -0.02


@pytest.mark.parametrize("rule", ["AdaGrad", "RMSProp"])
def test_momentum_is_refused_where_caffe_refuses_it(rule: str) -> None:
    text = rf"momentum: Momentum cannot be used with {rule}. \(got 0.9, expected 0\)"
    with pytest.raises(UsageError, match=text):
        build_solver(param(rule, momentum=0.9), regression())


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5])
def test_a_decay_of_rmsprop_that_is_no_fraction_is_refused(decay: float) -> None:
    with pytest.raises(UsageError, match=r"rms_decay should lie between 0 and 1. \(got"):
        build_solver(param("RMSProp", momentum=0, rms_decay=decay), regression())


def test_an_unknown_regularization_is_refused() -> None:
    with pytest.raises(UsageError, match="Unknown regularization type: L3"):
        build_solver(param("SGD", regularization_type="L3"), regression())
