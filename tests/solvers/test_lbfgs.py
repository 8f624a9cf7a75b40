"""L-BFGS with line search: convergence, monotone loss, bounds, its memory, and its cost beside others."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize
from solvers.objectives import (
    Objective,
    ObjectiveNet,
    Values,
    gram_of_filters,
    least_squares,
    quadratic,
    rosenbrock,
)

from nst.errors import Diverged, SnapshotError, SolverError, UsageError
from nst.io.snapshot import read_snapshot, write_snapshot
from nst.proto import SolverParameter
from nst.solvers import LBFGS, SGD, IterationRecord, StopReason


def solver(net: ObjectiveNet, *, pairs: int = 10, bounds: Any = None, **settings: Any) -> LBFGS:
    param = SolverParameter(type="LBFGS", lbfgs_corrections=pairs, max_iter=1000, **settings)
    return LBFGS(param, net, bounds=bounds)


def records_of(made: LBFGS) -> list[IterationRecord]:
    kept: list[IterationRecord] = []
    made.on_iteration.append(kept.append)
    return kept


def valley(size: int) -> NDArray[Any]:
    """The usual far start of Rosenbrock's function."""
    return np.tile([-1.2, 1.0], size // 2)


@pytest.mark.parametrize("size", [2, 10, 50])
def test_the_minimum_of_a_curved_valley_is_found(size: int) -> None:
    net = ObjectiveNet(rosenbrock, [np.linspace(0.2, 0.9, size)])

    solver(net).step(400)

    np.testing.assert_allclose(net.values[0], 1.0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=st.integers(0, 1000))
def test_the_loss_never_rises(dtype: type, seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = ObjectiveNet(rosenbrock, [rng.normal(size=8)], dtype=dtype)
    made = solver(net)
    records = records_of(made)

    made.step(60)

    losses = [net.losses[0], *(record.loss for record in records)]
    assert all(after <= before for before, after in itertools.pairwise(losses))


def test_a_convex_quadratic_takes_about_as_many_iterations_as_it_has_values() -> None:
    net = ObjectiveNet(quadratic(np.linspace(0.1, 0.5, 5)), [np.ones(5)])
    made = solver(net)
    records = records_of(made)

    made.step(12)

    assert records[-1].loss < 1e-10


def test_the_record_tells_the_loss_that_was_reached() -> None:
    net = ObjectiveNet(quadratic([1.0, 10.0]), [np.array([1.0, 2.0])])
    made = solver(net)
    records = records_of(made)

    made.step(3)

    loss, (gradient,) = net.objective(net.values)
    assert records[-1].loss == pytest.approx(loss)
    assert records[-1].gradient_norm == pytest.approx(float(np.linalg.norm(gradient)))
    assert [record.iteration for record in records] == [1, 2, 3]
    assert records[-1].evaluations == len(net.losses)


def test_most_iterations_cost_one_evaluation() -> None:
    net = ObjectiveNet(rosenbrock, [valley(10)])
    made = solver(net)

    made.step(60)

    assert made.iter == 60
    assert made.evaluations <= 1.3 * made.iter


def test_a_run_ends_where_nothing_lowers_the_loss() -> None:
    net = ObjectiveNet(rosenbrock, [valley(4)], dtype=np.float32)
    made = solver(net)

    made.step(1000)

    assert made.stop_reason in (StopReason.NO_PROGRESS, StopReason.CONVERGED)
    assert made.iter < 1000


def test_a_zero_gradient_is_the_end() -> None:
    made = solver(ObjectiveNet(quadratic([1.0]), [np.zeros(1)]))

    made.step(5)

    assert (made.iter, made.stop_reason) == (0, StopReason.CONVERGED)


def test_a_gradient_that_lies_ends_the_run_with_the_values_as_they_were() -> None:
    net = ObjectiveNet(lambda w: (float(np.sum(w[0] ** 2)), [-w[0]]), [np.array([1.0, 2.0])])
    made = solver(net)

    made.step(5)

    assert (made.iter, made.stop_reason) == (0, StopReason.NO_PROGRESS)
    np.testing.assert_array_equal(net.values[0], [1.0, 2.0])


def test_steps_into_nowhere_are_taken_back() -> None:
    def cliff(values: Values) -> tuple[float, Values]:
        (x,) = values
        inside = np.abs(x).max() < 1.5
        return (float(np.sum((x - 1) ** 2)) if inside else np.nan), [2 * (x - 1)]

    net = ObjectiveNet(cliff, [np.array([-1.0, 0.5])])
    made = solver(net)
    records = records_of(made)

    made.step(10)

    assert records[-1].loss < 1e-12


def test_a_loss_that_rounding_holds_still_ends_the_run() -> None:
    slopes = quadratic(np.logspace(0, 3, 20))
    net = ObjectiveNet(lambda w: (1.0, slopes(w)[1]), [np.ones(20)])
    made = solver(net)

    made.step(100)

    assert (made.iter, made.stop_reason) == (10, StopReason.NO_PROGRESS)


@pytest.mark.parametrize("start", [2.0, -1.3, 0.9, 5.1, -7.7, 33.0])
def test_at_a_kink_the_net_holds_the_values_of_the_loss_that_was_told(start: float) -> None:
    def kink(values: Values) -> tuple[float, Values]:
        (x,) = values
        return float(np.sum(np.abs(x - [0.3, 0.7]))), [np.sign(x - [0.3, 0.7])]

    net = ObjectiveNet(kink, [np.array([start, -1.0])])
    made = solver(net)
    records = records_of(made)
    held: list[float] = []
    made.on_iteration.append(lambda record: held.append(kink(net.values)[0]))

    made.step(6)

    assert held == [record.loss for record in records]
    assert held[-1] < net.losses[0]


def test_a_loss_that_is_not_finite_at_the_start_is_reported() -> None:
    made = solver(ObjectiveNet(lambda w: (np.inf, [w[0]]), [np.ones(2)]))

    with pytest.raises(Diverged, match=r"iteration 0: the loss is no longer finite \(got inf\)"):
        made.step(1)


def test_a_gradient_that_is_not_finite_is_reported() -> None:
    made = solver(ObjectiveNet(lambda w: (1.0, [w[0] * np.nan]), [np.ones(2)]))

    with pytest.raises(Diverged, match="gradient is no longer finite"):
        made.step(1)


def test_values_changed_between_calls_are_measured_anew() -> None:
    net = ObjectiveNet(quadratic([1.0, 3.0]), [np.array([1.0, 2.0])])
    made = solver(net)
    made.step(2)
    net.learnable_params[0].data[...] = [5.0, -5.0]
    records = records_of(made)

    made.step(1)

    assert records[0].loss < 0.5 * (25 + 75)
    assert records[0].loss > 0


def test_weight_decay_is_part_of_the_loss() -> None:
    rng = np.random.default_rng(5)
    features, targets = rng.normal(size=(9, 3)), rng.normal(size=9)
    net = ObjectiveNet(least_squares(features, targets), [np.zeros(3), np.zeros(1)], decay=[1, 0])

    solver(net, weight_decay=0.5).step(60)

    full = np.hstack([features, np.ones((9, 1))])
    ridge = full.T @ full / 9 + np.diag([0.5, 0.5, 0.5, 0.0])
    expected = np.linalg.solve(ridge, full.T @ targets / 9)
    np.testing.assert_allclose(np.concatenate(net.values), expected, atol=1e-6)


def test_lr_mult_does_not_move_the_minimum() -> None:
    rng = np.random.default_rng(5)
    features, targets = rng.normal(size=(9, 3)), rng.normal(size=9)
    net = ObjectiveNet(
        least_squares(features, targets), [np.zeros(3), np.zeros(1)], lr=[0.25, 9], decay=[1, 2]
    )

    solver(net, weight_decay=0.5).step(80)

    full = np.hstack([features, np.ones((9, 1))])
    ridge = full.T @ full / 9 + np.diag([0.5, 0.5, 0.5, 1.0])
    expected = np.linalg.solve(ridge, full.T @ targets / 9)
    np.testing.assert_allclose(np.concatenate(net.values), expected, atol=1e-6)


def test_frozen_parameters_stay() -> None:
    rng = np.random.default_rng(5)
    objective = least_squares(rng.normal(size=(9, 3)), rng.normal(size=9))
    net = ObjectiveNet(objective, [np.zeros(3), np.array([0.75])], lr=[1, 0])

    solver(net).step(10)

    assert net.values[1] == [0.75]
    assert abs(net.values[0]).max() > 0


def test_iter_size_takes_means() -> None:
    net = ObjectiveNet(rosenbrock, [valley(4)])
    plain = ObjectiveNet(rosenbrock, [valley(4)])

    solver(net, iter_size=4).step(15)
    solver(plain).step(15)

    np.testing.assert_allclose(net.values[0], plain.values[0], rtol=1e-9)


# ---- beside other implementations -----------------------------------------------------------------


MOST = 150
"""Evaluations given to each implementation."""


def evaluations_to(losses: list[float], target: float) -> int:
    return 1 + next(i for i, loss in enumerate(losses) if loss <= target)


def scipys(
    objective: Objective, start: NDArray[Any], pairs: int, bounds: Any = None
) -> list[float]:
    """Losses of scipy's L-BFGS-B, one per evaluation."""
    losses: list[float] = []

    def measure(x: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        loss, (gradient,) = objective([x])
        losses.append(loss)
        return loss, gradient

    options = {"maxcor": pairs, "maxfun": MOST, "ftol": 0, "gtol": 0}
    optimize.minimize(measure, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return losses


def torchs(objective: Objective, start: NDArray[Any], pairs: int) -> list[float]:
    """Losses of PyTorch's L-BFGS with strong Wolfe search, one per evaluation."""
    torch = pytest.importorskip("torch")
    losses: list[float] = []
    x = torch.nn.Parameter(torch.tensor(start))

    def closure() -> Any:
        loss, (gradient,) = objective([x.detach().numpy()])
        losses.append(loss)
        x.grad = torch.tensor(gradient)
        return torch.tensor(loss)

    torch.optim.LBFGS(
        [x],
        max_iter=1000,
        max_eval=MOST,
        history_size=pairs,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    ).step(closure)
    return losses


PROBLEMS: list[tuple[Objective, NDArray[Any]]] = [
    (quadratic(np.logspace(0, 2, 20)), np.cos(np.arange(20.0))),
    (rosenbrock, valley(2)),
    (rosenbrock, valley(10)),
    (rosenbrock, np.linspace(0.2, 1.4, 40)),
    *(gram_of_filters(seed) for seed in range(6)),
]
SHARES = (1e-1, 1e-2, 1e-3)
"""Targets, as shares of the loss at the start above the lowest that either reaches."""


@pytest.mark.parametrize("other", [scipys, pytest.param(torchs, marks=pytest.mark.torch)])
def test_others_need_at_least_as_many_evaluations(other: Any) -> None:
    ratios = []
    for objective, start in PROBLEMS:
        theirs = other(objective, start.copy(), 10)
        net = ObjectiveNet(objective, [start])
        solver(net).step(MOST)
        floor = min(min(net.losses), min(theirs))
        targets = [floor + share * (net.losses[0] - floor) for share in SHARES]
        ratios += [evaluations_to(net.losses, t) / evaluations_to(theirs, t) for t in targets]

    # Single paths have their luck; the geometric mean over paths and targets does not.
    assert np.exp(np.mean(np.log(ratios))) <= 1.0


# ---- bounds ---------------------------------------------------------------------------------------


def bounded_quadratic(seed: int, size: int) -> tuple[Objective, NDArray[Any], NDArray[Any]]:
    """A convex quadratic whose free minimum lies outside many of its bounds."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
    matrix = basis @ np.diag(np.logspace(0, 2, size)) @ basis.T
    middle = rng.normal(size=size)
    lower, upper = middle - rng.uniform(0, 1, size), middle + rng.uniform(0, 1, size)
    target = middle + rng.normal(size=size)

    def objective(values: Values) -> tuple[float, Values]:
        error = values[0] - target
        return 0.5 * float(error @ matrix @ error), [matrix @ error]

    return objective, lower, upper


@pytest.mark.parametrize("seed", range(6))
def test_a_bounded_quadratic_ends_where_scipy_ends(seed: int) -> None:
    objective, lower, upper = bounded_quadratic(seed, 30)
    start = 0.5 * (lower + upper)
    net = ObjectiveNet(objective, [start])
    solver(net, bounds=[(lower, upper)]).step(300)

    expected = optimize.minimize(
        lambda x: (objective([x])[0], objective([x])[1][0]),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(lower, upper, strict=True)),
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 2000},
    )
    assert objective(net.values)[0] == pytest.approx(expected.fun, rel=1e-9)
    np.testing.assert_allclose(net.values[0], expected.x, atol=1e-5)


def test_bounds_cost_no_more_evaluations_than_scipys() -> None:
    ratios = []
    for seed in range(8):
        objective, lower, upper = bounded_quadratic(seed, 30)
        start = 0.5 * (lower + upper)
        theirs = scipys(objective, start, 10, bounds=list(zip(lower, upper, strict=True)))
        net = ObjectiveNet(objective, [start])
        solver(net, bounds=[(lower, upper)]).step(60)
        floor = min(min(net.losses), min(theirs))
        targets = [floor + share * (net.losses[0] - floor) for share in (1e-2, 1e-4, 1e-6)]
        ratios += [evaluations_to(net.losses, t) / evaluations_to(theirs, t) for t in targets]

    assert np.exp(np.mean(np.log(ratios))) <= 1.0


@given(seed=st.integers(0, 500))
def test_every_trial_lies_within_the_bounds_and_none_raises_the_loss(seed: int) -> None:
    objective, lower, upper = bounded_quadratic(seed, 6)
    visited: list[NDArray[Any]] = []

    def watched(values: Values) -> tuple[float, Values]:
        visited.append(np.array(values[0]))
        return objective(values)

    net = ObjectiveNet(watched, [np.zeros(6)])
    made = solver(net, bounds=[(lower, upper)])
    records = records_of(made)

    made.step(20)

    assert all(((lower <= x) & (x <= upper)).all() for x in visited)
    losses = [net.losses[0], *(record.loss for record in records)]
    assert all(after <= before for before, after in itertools.pairwise(losses))


def test_a_slope_down_to_the_box_is_followed_to_its_wall_in_few_evaluations() -> None:
    net = ObjectiveNet(lambda w: (float(np.sum(w[0])), [np.ones(3)]), [np.full(3, 0.5)])
    made = solver(net, bounds=[(0.0, 1.0)])

    made.step(10)

    assert made.stop_reason is StopReason.CONVERGED
    np.testing.assert_array_equal(net.values[0], 0.0)
    assert made.evaluations <= 3


def test_bounds_on_one_side_of_some_values_are_enough() -> None:
    net = ObjectiveNet(quadratic([1.0, 4.0, 9.0]), [np.array([3.0, 3.0, 3.0])])

    solver(net, bounds=[(np.array([1.0, -np.inf, -np.inf]), None)]).step(40)

    np.testing.assert_allclose(net.values[0], [1.0, 0.0, 0.0], atol=1e-6)


def test_a_start_outside_the_bounds_is_moved_inside() -> None:
    net = ObjectiveNet(quadratic([1.0, 1.0]), [np.array([9.0, -9.0])])

    solver(net, bounds=[(2.0, 5.0)]).step(10)

    np.testing.assert_allclose(net.values[0], [2.0, 2.0])


# ---- settings and snapshots -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"clip_gradients": 1.0}, "clip_gradients: a line search needs the true gradient"),
        ({"weight_decay": 0.1, "regularization_type": "L1"}, "needs a smooth loss"),
        ({"pairs": 0}, "lbfgs_corrections: got 0, expected at least 1"),
    ],
)
def test_settings_that_a_line_search_cannot_have_are_refused(
    settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        solver(ObjectiveNet(quadratic([1.0]), [np.ones(1)]), **settings)


def test_a_net_with_nothing_to_learn_is_refused() -> None:
    with pytest.raises(SolverError, match="nothing to optimise"):
        solver(ObjectiveNet(quadratic([1.0]), [np.ones(1)], lr=[0]))


@pytest.mark.parametrize("suffix", ["", ".h5"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_resumed_run_is_bit_equal(suffix: str, dtype: type, tmp_path: Path) -> None:
    def fresh() -> ObjectiveNet:
        return ObjectiveNet(rosenbrock, [valley(6)], dtype=dtype)

    straight, first, second = fresh(), fresh(), fresh()
    solver(straight, pairs=3).step(25)
    before = solver(first, pairs=3)
    before.step(11)
    path = tmp_path / f"x.solverstate{suffix}"
    write_snapshot(path, before.state())

    second.learnable_params[0].data[...] = first.values[0]
    after = solver(second, pairs=3)
    after.restore_state(read_snapshot(path))
    after.step(14)

    np.testing.assert_array_equal(second.values[0], straight.values[0])
    assert after.iter == 25


def test_a_state_holds_all_that_is_remembered() -> None:
    slopes = quadratic(np.logspace(0, 3, 20))
    net = ObjectiveNet(lambda w: (1.0, slopes(w)[1]), [np.ones(20)])
    first, second = solver(net, pairs=3), solver(net, pairs=3)
    first.step(5)

    second.restore_state(first.state())

    before, after = first.state().state, second.state().state
    assert before.keys() == after.keys()
    assert before["lbfgs/stalled"] == [5]
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


def test_a_state_of_another_size_is_refused() -> None:
    made = solver(ObjectiveNet(rosenbrock, [valley(6)]))
    made.step(3)

    with pytest.raises(
        SnapshotError, match=r"does not fit the net \(got \(6,\), expected \(4,\)\)"
    ):
        solver(ObjectiveNet(rosenbrock, [valley(4)])).restore_state(made.state())


def test_a_state_of_another_rule_is_refused() -> None:
    net = ObjectiveNet(rosenbrock, [valley(4)])
    state = SGD(SolverParameter(lr_policy="fixed", base_lr=0.1), net).state()

    with pytest.raises(SnapshotError, match="no memory of L-BFGS"):
        solver(net).restore_state(state)
