"""The step loop: order of work, records, stopping, display, tests, snapshots, bad settings."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from solvers.objectives import ObjectiveNet, Values, quadratic

from nst.errors import Diverged, SnapshotError, SolverError, UsageError
from nst.io.snapshot import read_snapshot
from nst.proto import SolverParameter
from nst.solvers import SGD, Adam, IterationRecord, Solver, StopReason


def param(**settings: Any) -> SolverParameter:
    made = SolverParameter(base_lr=0.1, lr_policy="fixed", max_iter=10, snapshot_after_train=False)
    for name, value in settings.items():
        if isinstance(value, list):
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


def bowl() -> ObjectiveNet:
    return ObjectiveNet(quadratic([1.0, 2.0]), [np.array([1.0, -1.0])])


class Weights:
    """Weights in memory, by path; what a door gives to a solver."""

    def __init__(self) -> None:
        self.saved: dict[str, Values] = {}
        self.with_diff: list[bool] = []

    def save(self, net: ObjectiveNet, path: Any, *, diff: bool) -> None:
        self.saved[str(path)] = net.values
        self.with_diff.append(diff)
        Path(path).touch()

    def load(self, net: ObjectiveNet, path: Any) -> None:
        for blob, value in zip(net.learnable_params, self.saved[str(path)], strict=True):
            blob.data[...] = value


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


# ---- snapshots ------------------------------------------------------------------------------------------


def test_snapshots_come_at_the_interval_and_at_the_end(tmp_path: Path) -> None:
    prefix = str(tmp_path / "run")
    settings = param(snapshot=4, snapshot_prefix=prefix, max_iter=10, snapshot_after_train=True)

    SGD(settings, bowl(), weights_files=Weights()).solve()

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"run_iter_{n}.{kind}" for n in (4, 8, 10) for kind in ("caffemodel", "solverstate")
    )


def test_the_last_snapshot_is_not_written_twice(tmp_path: Path) -> None:
    weights = Weights()
    prefix = str(tmp_path / "run")
    settings = param(snapshot=5, snapshot_prefix=prefix, max_iter=10, snapshot_after_train=True)

    SGD(settings, bowl(), weights_files=weights).solve()

    assert len(weights.with_diff) == 2


@pytest.mark.parametrize("diff", [True, False])
def test_snapshots_hold_diffs_if_asked(diff: bool, tmp_path: Path) -> None:
    weights = Weights()
    settings = param(snapshot_prefix=str(tmp_path / "run"), snapshot_diff=diff)

    SGD(settings, bowl(), weights_files=weights).snapshot()

    assert weights.with_diff == [diff]


def test_a_snapshot_can_be_asked_for_while_running(tmp_path: Path) -> None:
    weights = Weights()
    solver = SGD(param(snapshot_prefix=str(tmp_path / "run")), bowl(), weights_files=weights)
    solver.request_snapshot()

    solver.step(3)

    assert list(weights.saved) == [str(tmp_path / "run_iter_1.caffemodel")]


def test_restore_brings_back_weights_iteration_and_memory(tmp_path: Path) -> None:
    weights, settings = Weights(), param(momentum=0.9, snapshot_prefix=str(tmp_path / "run"))
    first, second = (SGD(settings, bowl(), weights_files=weights) for _ in range(2))
    first.step(4)
    state = first.snapshot().state

    second.restore(state)
    for solver in (first, second):
        solver.step(3)

    assert second.iter == 7
    np.testing.assert_array_equal(second.net.values[0], first.net.values[0])


def test_weights_are_found_beside_a_state_that_was_moved(tmp_path: Path) -> None:
    weights = Weights()
    (tmp_path / "old").mkdir()
    solver = SGD(
        param(snapshot_prefix=str(tmp_path / "old" / "run")), bowl(), weights_files=weights
    )
    paths = solver.snapshot()
    (tmp_path / "old").rename(tmp_path / "new")
    moved = tmp_path / "new" / paths.weights.name
    weights.saved[str(moved)] = weights.saved[str(paths.weights)]

    solver.restore(tmp_path / "new" / paths.state.name)

    assert solver.iter == 0


def test_a_state_whose_weights_are_gone_is_refused(tmp_path: Path) -> None:
    solver = SGD(param(snapshot_prefix=str(tmp_path / "run")), bowl(), weights_files=Weights())
    paths = solver.snapshot()
    paths.weights.unlink()

    with pytest.raises(SnapshotError, match="the weights of this state are missing"):
        solver.restore(paths.state)


def test_the_random_stream_goes_on_where_it_was(tmp_path: Path) -> None:
    first, second = (
        SGD(param(snapshot_prefix=str(tmp_path / "run")), bowl(), weights_files=w)
        for w in [Weights()] * 2
    )
    first.net.rng.words(5)
    state = first.snapshot().state

    second.restore(state)

    np.testing.assert_array_equal(second.net.rng.words(9), first.net.rng.words(9))


def test_frozen_parameters_have_their_place_in_the_state(tmp_path: Path) -> None:
    net = ObjectiveNet(
        lambda w: (0.0, [np.ones(2), np.zeros(3)]), [np.ones(2), np.ones(3)], lr=[1, 0]
    )
    solver = Adam(param(snapshot_prefix=str(tmp_path / "run")), net, weights_files=Weights())
    solver.step(2)

    history = read_snapshot(solver.snapshot().state).history

    assert [array.shape for array in history] == [(2,), (3,), (2,), (3,)]
    np.testing.assert_array_equal(history[1], 0)


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (Adam(param(), bowl()), r"Incorrect length of history blobs \(got 2, expected 1\)"),
        (
            SGD(param(), ObjectiveNet(quadratic([1.0]), [np.ones(1)])),
            r"history blob 0 does not fit the net \(got shape \(1,\), expected \(2,\)\)",
        ),
    ],
)
def test_a_state_of_another_run_is_refused(other: Solver, text: str) -> None:
    with pytest.raises(SnapshotError, match=text):
        SGD(param(), bowl()).restore_state(other.state())


def test_a_refused_state_changes_nothing(tmp_path: Path) -> None:
    solver = SGD(param(), bowl())
    solver.step(3)

    with pytest.raises(SnapshotError):
        solver.restore_state(Adam(param(), bowl()).state())

    assert solver.iter == 3


def test_a_snapshot_needs_someone_to_write_weights(tmp_path: Path) -> None:
    solver = SGD(param(snapshot_prefix=str(tmp_path / "run")), bowl())

    with pytest.raises(SolverError, match="no way to read and write weights"):
        solver.snapshot()


def test_a_run_that_would_end_in_a_snapshot_without_a_place_is_refused_at_once() -> None:
    net = bowl()

    with pytest.raises(UsageError, match="snapshot_prefix"):
        SGD(param(snapshot_after_train=True), net, weights_files=Weights()).solve()
    with pytest.raises(SolverError, match="no way to read and write weights"):
        SGD(param(snapshot=3, snapshot_prefix="run"), net)

    assert not net.losses


def test_a_snapshot_needs_a_prefix() -> None:
    with pytest.raises(UsageError, match="snapshot_prefix: a snapshot needs a place to go"):
        SGD(param(), bowl(), weights_files=Weights()).snapshot()


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
