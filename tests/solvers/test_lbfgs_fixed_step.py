"""The rule of the fork and of MyCaffe: published iterates, recorded runs, snapshots."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from solvers.objectives import ObjectiveNet, quadratic
from solvers.trajectories import FOLDER, FORK_RUNS

from nst.backend import Backend
from nst.core import TRAIN
from nst.errors import SnapshotError, UsageError
from nst.io.prototxt import read_net, read_solver
from nst.io.snapshot import read_snapshot, write_snapshot
from nst.net import Net
from nst.proto import SolverParameter, StyleTransferParameter
from nst.solvers import LBFGS, FixedStepLBFGS, build_solver


def bowl(**options: Any) -> ObjectiveNet:
    return ObjectiveNet(quadratic([0.1, 0.2, 0.3, 0.4, 0.5]), [np.ones(5)], **options)


def param(**settings: Any) -> SolverParameter:
    made = SolverParameter(type="LBFGS", base_lr=1.5, max_iter=100, lbfgs_corrections=100)
    made.style_transfer_param.line_search = StyleTransferParameter.NONE
    for name, value in settings.items():
        setattr(made, name, value)
    return made


# Losses after each update, from an independent emulation of MyCaffe's rule on 1/2 x^T A x, x0 = 1.
QUASI_NEWTON = [0.3125, 0.0234580, 0.00902350, 5.41453e-4, 2.38732e-4, 4.71976e-6, 2.26031e-7]
THREE_PAIRS = [0.3125, 0.0234580, 0.00902350, 5.41453e-4, 2.37786e-4, 7.21061e-6, 1.01553e-6]
GRADIENT_DESCENT = [0.3125, 0.151325, 0.0836713, 0.0512836, 0.0338619, 0.0235660, 0.0170258]


@pytest.mark.parametrize(
    ("settings", "switch", "expected"),
    [
        ({}, True, QUASI_NEWTON),
        ({}, False, QUASI_NEWTON),
        ({"base_lr": 1.0}, False, QUASI_NEWTON),
        ({"base_lr": 1.0}, True, GRADIENT_DESCENT),
        ({"lbfgs_corrections": 3}, True, THREE_PAIRS),
    ],
)
def test_the_iterates_are_those_of_the_original(
    settings: dict[str, Any], switch: bool, expected: list[float]
) -> None:
    net = bowl()

    FixedStepLBFGS(param(**settings), net, base_lr_switch=switch).step(8)

    np.testing.assert_allclose(net.losses[1:], expected, rtol=5e-6)


class ForkRun:
    """A recorded run of the fork's solver and our solver on the same net."""

    def __init__(self, name: str, backend: Backend) -> None:
        with np.load(FOLDER / f"{name}.npz") as arrays:
            self.record = {key: arrays[key] for key in arrays.files}
        net = read_net(FOLDER / f"{name}.net.prototxt")
        self.net = Net(net, backend=backend, phase=TRAIN)
        self.net.copy_weights(
            {layer: [self.record[f"param/{layer}/{i}"] for i in range(2)] for layer in ("c1", "c2")}
        )
        for key in ("input_c2", "input_gram_c1"):
            self.net.blobs[key].data[...] = backend.asarray(self.record[f"in/{key}"], np.float32)
        self.picture = self.net.params["input1"][0]
        self.place(self.record["start"])
        solver = read_solver(FOLDER / f"{name}.solver.prototxt")
        solver.style_transfer_param.line_search = StyleTransferParameter.NONE
        self.solver = build_solver(solver, self.net)

    def place(self, picture: Any) -> None:
        self.picture.data[...] = self.net.backend.asarray(picture, np.float32)

    def error(self, step: int) -> float:
        expected = self.record["x_after"][step]
        return float(np.abs(self.picture.to_host() - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", FORK_RUNS)
def test_each_step_of_a_recorded_run_is_reproduced(name: str, backend: Backend) -> None:
    run = ForkRun(name, backend)

    for step in range(20):
        run.solver.step(1)
        assert run.error(step) < 1e-5
        # Go on from the recorded point: else the rounding of float32 grows from step to step.
        run.place(run.record["x_after"][step])
        loss = run.net.forward_from_to()
        assert loss == pytest.approx(run.record["loss_after"][step], rel=1e-5)


@pytest.mark.parametrize("name", FORK_RUNS)
def test_a_recorded_run_is_followed_freely(name: str, backend: Backend) -> None:
    run = ForkRun(name, backend)
    errors = []

    for step in range(20):
        run.solver.step(1)
        errors.append(run.error(step))

    assert max(errors[:10]) < 1e-5
    assert max(errors) < 5e-4


def test_the_style_block_chooses_the_rule() -> None:
    assert isinstance(build_solver(param(), bowl()), FixedStepLBFGS)
    assert isinstance(build_solver(SolverParameter(type="LBFGS"), bowl()), LBFGS)


def test_preset_mycaffe_alone_is_enough_and_a_line_search_asked_for_beside_it_wins() -> None:
    named = SolverParameter(type="LBFGS")
    named.style_transfer_param.preset = "MyCaffe"
    searching = SolverParameter(type="LBFGS")
    searching.style_transfer_param.preset = "mycaffe"
    searching.style_transfer_param.line_search = StyleTransferParameter.STRONG_WOLFE

    assert isinstance(build_solver(named, bowl()), FixedStepLBFGS)
    assert isinstance(build_solver(searching, bowl()), LBFGS)


def test_preset_mycaffe_brings_its_switch() -> None:
    net, settings = bowl(), param(base_lr=1.0)
    settings.style_transfer_param.preset = "mycaffe"

    build_solver(settings, net).step(8)

    np.testing.assert_allclose(net.losses[1:], GRADIENT_DESCENT, rtol=5e-6)


def test_lr_mult_scales_the_update() -> None:
    net = bowl(lr=[0.5])

    FixedStepLBFGS(param(), net).step(1)

    np.testing.assert_allclose(net.values[0], 1 - 0.5 * np.linspace(0.1, 0.5, 5))


def test_a_first_pair_without_curvature_leaves_the_gradient_as_direction() -> None:
    net = ObjectiveNet(lambda w: (float(np.sum(w[0])), [np.ones(3)]), [np.zeros(3)])

    FixedStepLBFGS(param(), net).step(3)

    np.testing.assert_array_equal(net.values[0], -3.0)


def test_a_switch_that_would_mix_rules_is_refused() -> None:
    with pytest.raises(UsageError, match="only kept for lr_mult 0 and 1"):
        FixedStepLBFGS(param(base_lr=1.0), bowl(lr=[0.5]), base_lr_switch=True)


def test_settings_that_the_original_ignores_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="nst.solvers"):
        FixedStepLBFGS(param(weight_decay=0.1), bowl())

    assert "weight_decay is ignored" in caplog.text


def test_bounds_hold_after_every_update() -> None:
    net = bowl()

    FixedStepLBFGS(param(), net, bounds=[(0.25, None)]).step(6)

    assert net.values[0].min() == 0.25


@pytest.mark.parametrize("pairs", [3, 100])
def test_a_resumed_run_is_bit_equal(pairs: int, tmp_path: Path) -> None:
    straight, first, second = (bowl(dtype=np.float32) for _ in range(3))
    settings = param(lbfgs_corrections=pairs)
    FixedStepLBFGS(settings, straight).step(12)
    before = FixedStepLBFGS(settings, first)
    before.step(5)
    write_snapshot(tmp_path / "x.solverstate", before.state())

    second.learnable_params[0].data[...] = first.values[0]
    after = FixedStepLBFGS(settings, second)
    after.restore_state(read_snapshot(tmp_path / "x.solverstate"))
    after.step(7)

    np.testing.assert_array_equal(second.values[0], straight.values[0])


def test_a_state_of_the_rule_with_line_search_is_refused() -> None:
    state = LBFGS(SolverParameter(), bowl()).state()

    with pytest.raises(SnapshotError, match="no memory of L-BFGS without line search"):
        FixedStepLBFGS(param(), bowl()).restore_state(state)


@pytest.mark.torch
@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_torchs_steps_are_those_of_torch(rate: float) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch, a development-only oracle")
    net = bowl()
    settings = param(base_lr=rate, lbfgs_corrections=4)
    settings.style_transfer_param.line_search = StyleTransferParameter.TORCH

    build_solver(settings, net).step(9)

    x = torch.nn.Parameter(torch.ones(5, dtype=torch.float64))
    curvature = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5], dtype=torch.float64)
    losses = []

    def closure() -> Any:
        loss = (curvature * x.detach() ** 2).sum() / 2
        losses.append(loss.item())
        x.grad = (curvature * x).detach()
        return loss

    torch.optim.LBFGS(
        [x], lr=rate, max_iter=9, max_eval=99, history_size=4, tolerance_grad=0, tolerance_change=0
    ).step(closure)
    np.testing.assert_allclose(net.losses, losses, rtol=1e-6)
