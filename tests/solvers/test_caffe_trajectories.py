"""Runs of the real Caffe, step by step, and its snapshots in both directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from solvers.trajectories import CAFFE_RUNS, FOLDER, RecordedNet, recorded, solver_param

from nst.backend import Backend
from nst.io.snapshot import read_snapshot
from nst.io.weights import read_weights
from nst.solvers import Solver, build_solver

SNAPSHOTS = sorted(path.name.removesuffix("_iter_6.solverstate") for path in FOLDER.glob("*state"))


class Weights:
    """Snapshots' weights as npz: these tests are about solver states."""

    def save(self, net: RecordedNet, path: Path, *, diff: bool) -> None:
        arrays = {f"{k}/{i}": a for k, row in net.weights().items() for i, a in enumerate(row)}
        with Path(path).open("wb") as file:
            np.savez(file, **arrays)

    def load(self, net: RecordedNet, path: Path) -> None:
        with np.load(path) as arrays:
            net.copy_weights(
                {name: [arrays[f"{name}/{i}"] for i in range(2)] for name in net.params}
            )


def start(name: str, backend: Backend, folder: Path | None = None, **settings: object) -> Solver:
    param = solver_param(name)
    param.snapshot_prefix = str((folder or Path()) / name)
    for field, value in settings.items():
        setattr(param, field, value)
    return build_solver(param, RecordedNet(param.net, backend), weights_files=Weights())


@pytest.mark.parametrize("name", CAFFE_RUNS)
def test_twelve_steps_follow_caffe(name: str, backend: Backend) -> None:
    solver = start(name, backend)
    expected = recorded(name)["steps"]

    for step in range(12):
        solver.step(1)
        largest = np.abs(expected[step]).max()
        np.testing.assert_allclose(solver.net.flat(), expected[step], rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("name", [n for n in CAFFE_RUNS if recorded(n)["lr"].size])
def test_rates_are_those_of_caffe(name: str, backend: Backend) -> None:
    solver = start(name, backend)
    rates: list[float] = []
    solver.on_iteration.append(lambda record: rates.append(record.lr))

    solver.step(12)

    np.testing.assert_allclose(rates, recorded(name)["lr"], rtol=1e-6)


@pytest.mark.parametrize("suffix", ["", ".h5"])
@pytest.mark.parametrize("name", CAFFE_RUNS)
def test_a_resumed_run_is_bit_equal(
    name: str, suffix: str, backend: Backend, tmp_path: Path
) -> None:
    straight = start(name, backend)
    straight.step(12)
    first = start(name, backend, tmp_path, snapshot_format=0 if suffix else 1)
    first.step(6)
    state = first.snapshot().state

    second = start(name, backend)
    second.restore(state)
    second.net.passes = first.net.passes
    second.step(6)

    assert state.name.endswith(f".solverstate{suffix}")
    np.testing.assert_array_equal(second.net.flat(), straight.net.flat())


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_snapshot_of_caffe_goes_on_as_caffe_did(name: str, backend: Backend) -> None:
    solver = start(name, backend)
    solver.restore_state(read_snapshot(FOLDER / f"{name}_iter_6.solverstate"))
    solver.net.copy_weights(read_weights(FOLDER / f"{name}_iter_6.caffemodel"))
    solver.net.passes = 6 * solver.param.iter_size

    solver.step(6)

    expected = recorded(name)["steps"][-1]
    atol = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(solver.net.flat(), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_our_state_has_the_layout_of_caffes(name: str, backend: Backend) -> None:
    solver = start(name, backend)
    solver.step(6)

    ours, caffes = solver.state(), read_snapshot(FOLDER / f"{name}_iter_6.solverstate")

    assert (ours.iteration, ours.current_step) == (caffes.iteration, caffes.current_step)
    assert [a.shape for a in ours.history] == [a.shape for a in caffes.history]
    for mine, theirs in zip(ours.history, caffes.history, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
