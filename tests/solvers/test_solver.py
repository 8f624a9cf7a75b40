"""The step loop: order of work, records, stopping, display, tests, snapshots, bad settings."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import pytest
from solvers.objectives import ObjectiveNet, Values
from solvers.runs import bowl, param

from nst.errors import Diverged, UsageError
from nst.solvers import SGD, IterationRecord, StopReason

# ---- records and callbacks --------------------------------------------------------------------------


def test_a_record_tells_the_iteration() -> None:
    net = bowl()
    solver = SGD(param(average_loss=2), net)
    records: list[IterationRecord] = []
    solver.on_iteration.append(records.append)

    solver.step(2)

    first, second = records
    assert first == IterationRecord(1, 1.5, 1.5, {"loss": 1.5}, pytest.approx(0.1), 1)
    assert (second.iteration, second.evaluations) == (2, 2)
    assert second.loss == pytest.approx(0.5 * 0.81 + 0.64)
    assert second.smoothed_loss == pytest.approx((1.5 + second.loss) / 2)


def test_a_record_cannot_be_changed() -> None:
    record = IterationRecord(1, 1.0, 1.0, {}, 0.1, 1)

    with pytest.raises(dataclasses.FrozenInstanceError):
        record.loss = 2.0  # type: ignore[misc]


def test_the_smoothed_loss_is_the_mean_of_the_last_losses() -> None:
    net = bowl()
    solver = SGD(param(average_loss=3), net)
    records: list[IterationRecord] = []
    solver.on_iteration.append(records.append)

    solver.step(8)

    expected = [np.mean(net.losses[max(0, i - 2) : i + 1]) for i in range(8)]
    np.testing.assert_allclose([record.smoothed_loss for record in records], expected)


def test_callbacks_come_in_caffes_order() -> None:
    net = bowl()
    solver, calls = SGD(param(), net), []
    solver.add_callback(
        lambda: calls.append(("start", len(net.losses), net.values[0][0])),
        lambda: calls.append(("gradients", len(net.losses), net.values[0][0])),
    )
    solver.on_iteration.append(lambda record: calls.append(("done", len(net.losses), solver.iter)))

    solver.step(1)

    assert calls == [("start", 0, 1.0), ("gradients", 1, 1.0), ("done", 1, 1)]


def test_gradients_may_be_changed_before_the_update() -> None:
    net = bowl()
    solver = SGD(param(), net)
    solver.add_callback(lambda: None, lambda: net.learnable_params[0].diff.fill(0))

    solver.step(3)

    np.testing.assert_array_equal(net.values[0], [1.0, -1.0])


def test_the_settings_of_the_caller_are_not_touched() -> None:
    settings = param()
    before = settings.SerializeToString()
    solver = SGD(settings, bowl())
    settings.base_lr = 99

    solver.step(1)

    assert solver.param.SerializeToString() == before


# ---- stopping -----------------------------------------------------------------------------------------


def test_a_stop_is_taken_after_the_iteration_in_progress() -> None:
    solver = SGD(param(), bowl())
    solver.on_iteration.append(lambda record: solver.request_stop())

    solver.step(5)

    assert (solver.iter, solver.stop_reason) == (1, StopReason.REQUESTED)


def test_a_stopped_solver_can_go_on() -> None:
    solver = SGD(param(), bowl())
    solver.request_stop()
    solver.step(5)

    solver.step(5)

    assert (solver.iter, solver.stop_reason) == (5, StopReason.ITERATIONS)


def test_solve_runs_to_max_iter() -> None:
    solver = SGD(param(max_iter=7), bowl())
    solver.step(3)

    solver.solve()

    assert solver.iter == 7


def test_an_update_can_be_applied_by_hand() -> None:
    net = bowl()
    solver = SGD(param(), net)
    net.clear_param_diffs()
    net.forward_backward()

    solver.apply_update()

    np.testing.assert_allclose(net.values[0], [0.9, -0.8])
    assert solver.iter == 0


def test_a_loss_that_is_not_finite_stops_with_the_place() -> None:
    def explodes(values: Values) -> tuple[float, Values]:
        (x,) = values
        return float(np.nan if x[0] < 0.85 else np.sum(x)), [np.ones(2)]

    solver = SGD(param(), ObjectiveNet(explodes, [np.ones(2)]))

    with pytest.raises(Diverged, match=r"iteration 2: .*\(got nan\), first in layer 'objective'"):
        solver.step(5)
    assert solver.iter == 2


def test_a_diverged_run_goes_back_to_its_best_values() -> None:
    steps = iter([3.0, 1.0, 2.0, np.inf])
    net = ObjectiveNet(lambda w: (next(steps), [np.ones(2)]), [np.ones(2)])
    solver = SGD(param(), net, keep_best=True)

    with pytest.raises(Diverged, match="best values, of iteration 1"):
        solver.step(9)

    np.testing.assert_allclose(net.values[0], 0.9)
    assert solver.best is not None
    assert solver.best.loss == 1.0


# ---- display --------------------------------------------------------------------------------------------


def test_display_logs_loss_outputs_and_rate_in_caffes_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="nst.solvers"):
        SGD(param(display=2), bowl()).step(3)

    assert [record.getMessage() for record in caplog.records] == [
        "Iteration 0, loss = 1.5",
        "    Train net output #0: loss = 1.5 (* 1 = 1.5 loss)",
        "Iteration 0, lr = 0.1",
        "Iteration 2, loss = 0.73765",
        "    Train net output #0: loss = 0.73765 (* 1 = 0.73765 loss)",
        "Iteration 2, lr = 0.1",
    ]


def test_nothing_is_displayed_unless_asked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="nst.solvers"):
        SGD(param(), bowl()).step(3)

    assert not caplog.records


def test_debug_info_logs_norms_on_displayed_iterations(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="nst.solvers"):
        SGD(param(display=5, debug_info=True), bowl()).step(3)

    text = "All net params (data, diff): L1 norm = (2, 3); L2 norm = (1.41421, 2.23607)"
    assert caplog.text.count("All net params") == 1
    assert text in caplog.text


# ---- tests while training ---------------------------------------------------------------------------------


def with_test_net(test_net: ObjectiveNet, **settings: Any) -> tuple[SGD, list[int]]:
    """A solver with one test net, and the iterations at which it was tested."""
    solver = SGD(param(test_iter=[3], **settings), bowl(), test_nets=[test_net])
    at: list[int] = []
    share = test_net.share_trained_layers_with

    def watch(other: Any) -> None:
        at.append(solver.iter)
        share(other)

    test_net.share_trained_layers_with = watch  # type: ignore[method-assign]
    return solver, at


def test_test_nets_run_at_the_interval_and_at_both_ends() -> None:
    solver, at = with_test_net(bowl(), test_interval=4, max_iter=8)

    solver.solve()

    assert at == [0, 4, 8]


def test_the_first_test_can_be_left_out() -> None:
    solver, at = with_test_net(bowl(), test_interval=4, max_iter=6, test_initialization=False)

    solver.solve()

    assert at == [4]


def test_a_test_uses_the_trained_weights_and_means_over_batches() -> None:
    solver, _ = with_test_net(bowl(), test_interval=100)
    solver.step(2)
    loss, _ = solver.net.objective(solver.net.values)

    (means,) = solver.test_all()

    assert means == {"loss": [pytest.approx(loss)]}


def test_a_stop_request_ends_a_test() -> None:
    solver, _ = with_test_net(bowl(), test_interval=100)
    solver.request_stop()

    assert solver.test_all() == []


def test_tests_are_logged_in_caffes_words(caplog: pytest.LogCaptureFixture) -> None:
    solver, _ = with_test_net(bowl(), test_interval=4, test_compute_loss=True)

    with caplog.at_level(logging.INFO, logger="nst.solvers"):
        solver.step(1)

    assert [record.getMessage() for record in caplog.records] == [
        "Iteration 0, Testing net (#0)",
        "Test loss: 1.5",
        "    Test net output #0: loss = 1.5 (* 1 = 1.5 loss)",
    ]


# ---- bad settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"test_iter": [3]}, r"test_iter must be specified for each test network \(got 1 entr"),
        ({"test_interval": 5, "snapshot": -1}, "snapshot: got -1, expected 0 or more"),
        ({"iter_size": 0}, "iter_size: got 0, expected at least 1"),
        ({"average_loss": 0}, "average_loss: got 0, expected at least 1"),
        ({"max_iter": -1}, "max_iter: got -1, expected 0 or more"),
        ({"snapshot": 5, "snapshot_prefix": "/dev/null/x"}, "Cannot write to snapshot prefix"),
        ({"lr_policy": "cosine"}, "Unknown learning rate policy: cosine"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        SGD(param(**settings), bowl())


def test_test_nets_need_an_interval() -> None:
    with pytest.raises(UsageError, match=r"test_interval: needed with test nets \(got 0"):
        SGD(param(test_iter=[1]), bowl(), test_nets=[bowl()])


def test_a_test_of_no_batches_is_refused() -> None:
    with pytest.raises(UsageError, match=r"test_iter: got \[0\], expected at least 1 each"):
        SGD(param(test_iter=[0], test_interval=5), bowl(), test_nets=[bowl()])
