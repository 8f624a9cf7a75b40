"""Snapshots: when and where they are written, what comes back, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from solvers.objectives import ObjectiveNet, quadratic
from solvers.runs import Weights, bowl, param

from nst.errors import SnapshotError, SolverError, UsageError
from nst.io.snapshot import Snapshot, read_snapshot
from nst.solvers import SGD, Adam, Solver


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


def test_a_state_with_legacy_shapes_of_four_axes_fits() -> None:
    solver = SGD(param(), bowl())

    solver.restore_state(Snapshot(5, history=[np.full((1, 1, 1, 2), 0.5)]))

    np.testing.assert_array_equal(solver.state().history[0], [0.5, 0.5])


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
