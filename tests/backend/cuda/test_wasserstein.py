"""Wasserstein distances in compiled nets: the reference's numbers, roots by products, the kernels."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from backend.cuda.conftest import Engine
from backend.cuda.host_device import RecordingDevice
from backend.cuda.kernel_rig import KernelRig
from backend.cuda.test_program import PICTURE, convolution, gram_loss, pooling
from scipy.optimize import linprog

from nst.backend import Backend
from nst.backend.covariance_root import CovarianceRoot
from nst.backend.cuda.backend import CudaBackend
from nst.backend.cuda.program.inverse_roots import best_quintic, inverse_root_steps
from nst.backend.cuda.program.program import CudaProgram
from nst.backend.numpy_backend import NumpyBackend
from nst.core import RandomSource
from nst.io.prototxt import parse_net
from nst.net import Net

TOLERANCE = {"fp32": 2e-5, "fp16": 0.03, "bf16": 0.2}


def wasserstein_loss(bottom: str, channels: int, weight: float, rest: str = "") -> str:
    return f"""
layer {{ name: "m_{bottom}" type: "Moments" bottom: "{bottom}" top: "m_{bottom}" }}
layer {{ name: "t_{bottom}" type: "Input" top: "t_{bottom}"
        input_param {{ shape {{ dim: 1 dim: {channels} dim: {channels + 1} }} }} }}
layer {{ name: "l_{bottom}" type: "WassersteinLoss" bottom: "m_{bottom}" bottom: "t_{bottom}"
        top: "l_{bottom}" loss_weight: {weight} wasserstein_loss_param {{ {rest} }} }}"""


NET = (
    PICTURE
    + convolution("c1", "data", 16)
    + convolution("c2", "c1", 20)
    + pooling("p1", "c2")
    + convolution("c3", "p1", 24)
    + wasserstein_loss("c1", 16, 3.0, "relative: true")
    + wasserstein_loss("c3", 24, 0.01, "epsilon: 1e-3")
    + gram_loss("c3", 24, 2.0).replace("_c3", "_d3").replace('"c3"', '"c2"').replace("24", "20")
)


def moments(rng: np.random.Generator, channels: int, size: float = 1.0) -> np.ndarray:
    features = size * np.maximum(rng.standard_normal((channels, 400)) + 0.3, 0)
    features[1] = features[0] * 0.5  # a covariance that lacks rank
    raw = np.concatenate([np.ones((1, 400)), features])
    return (features @ raw.T / 400)[None].astype(np.float32)


def painting_net(backend: Backend, text: str = NET, size: float = 1.0) -> Net:
    net = Net(parse_net(text), backend=backend, rng=RandomSource(5), recycle_gradients=True)
    net.forward_from_to(0, 0)  # from here on the blob of the PARAMETER is its picture
    rng = np.random.default_rng(7)
    for name in ("t_c1", "t_c3"):
        if name in net.blobs:
            net.blobs[name].data[...] = backend.xp.asarray(
                moments(rng, net.blobs[name].shape[1], size)
            )
    return net


def gradient_of(net: Net) -> np.ndarray:
    return np.array(net.learnable_params[0].diff_to_host(), np.float64)


def program_of(net: Net) -> CudaProgram:
    program = net._compilation.current
    assert isinstance(program, CudaProgram)
    return program


@pytest.mark.parametrize("precision", TOLERANCE)
def test_a_net_with_wasserstein_distances_is_the_reference(precision: str, engine: Engine) -> None:
    net, reference = painting_net(engine(precision)), painting_net(NumpyBackend())
    losses = [net.forward_backward() for _ in range(3)]
    expected = reference.forward_backward()
    assert losses == pytest.approx([expected] * 3, rel=TOLERANCE[precision])
    assert net.loss_terms() == pytest.approx(reference.loss_terms(), rel=TOLERANCE[precision])
    wanted = gradient_of(reference)
    error = np.linalg.norm(gradient_of(net) - wanted) / np.linalg.norm(wanted)
    assert error < TOLERANCE[precision]
    assert not program_of(net).run.foreign


def test_a_new_target_is_used(engine: Engine) -> None:
    net, reference = painting_net(engine()), painting_net(NumpyBackend())
    net.forward_backward()
    other = moments(np.random.default_rng(8), 16, 2.0)
    for each in (net, reference):
        each.blobs["t_c1"].data[...] = each.blobs["t_c1"].backend.xp.asarray(other)
    assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=2e-5)
    np.testing.assert_allclose(gradient_of(net), gradient_of(reference), rtol=1e-3, atol=2e-6)


def test_roots_that_do_not_settle_are_taken_by_the_layer(caplog: pytest.LogCaptureFixture) -> None:
    """More channels than places, and a target whose ridge is less than the rounding of the moments."""
    text = PICTURE + convolution("c3", "data", 48, "kernel_size: 7 stride: 7")
    text += wasserstein_loss("c3", 48, 1.0)
    device = RecordingDevice()
    net = painting_net(CudaBackend(device), text, size=1e-4)
    reference = painting_net(NumpyBackend(), text, size=1e-4)
    with caplog.at_level(logging.INFO, "nst.cuda"):
        losses = [net.forward_backward() for _ in range(4)]
    assert losses == pytest.approx([reference.forward_backward()] * 4, rel=1e-4)
    assert [record.message for record in caplog.records] == [
        "the root of a covariance was not found: taken by the layer (l_c3)"
    ]
    own_code = {net.layers[index].type for index in program_of(net).run.foreign}
    assert own_code == {"WassersteinLoss"}
    assert device.recordings == 2  # before the layer's two passes and after them
    assert np.isfinite(gradient_of(net)).all()


def test_a_picture_that_is_not_finite_does_not_change_the_program(engine: Engine) -> None:
    net, reference = painting_net(engine()), painting_net(NumpyBackend())
    good = net.blobs["data"].to_host().copy()
    for value in (np.nan, 1.0):
        net.blobs["data"].data[...] = net.backend.asarray(good * value, np.float32)
        loss = net.forward_backward()
        assert np.isnan(loss) == np.isnan(value)
    net.forward_backward()
    assert loss == pytest.approx(reference.forward_backward(), rel=2e-5)
    assert not program_of(net).run.foreign


@pytest.mark.parametrize(
    "rest",
    ["epsilon: 0", "epsilon: 1e-4 } loss_param { normalize: true"],
    ids=["no ridge", "other"],
)
def test_a_distance_without_a_ridge_is_the_layers(rest: str, engine: Engine) -> None:
    text = PICTURE + convolution("c1", "data", 16) + wasserstein_loss("c1", 16, 1.0, rest)
    net, reference = (
        painting_net(engine(), text),
        painting_net(NumpyBackend(), text),
    )
    assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=1e-4)
    assert bool(program_of(net).run.foreign) == (rest == "epsilon: 0")


# ---- steps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lowest", [0.1, 1e-3, 1e-7, 1e-9])
def test_steps_bring_every_root_to_one_sooner_than_newton_schulz(lowest: float) -> None:
    s = np.geomspace(lowest, 1, 100_001)
    for a, b, c in inverse_root_steps(lowest):
        s = a * s + b * s**3 + c * s**5
    np.testing.assert_allclose(s, 1, rtol=0, atol=1e-13)
    plain, count = np.array([lowest]), 0
    while abs(plain[0] - 1) > 1e-13:
        plain, count = plain * (15 - 10 * plain**2 + 3 * plain**4) / 8, count + 1
    assert len(inverse_root_steps(lowest)) < 0.7 * count + 1


@pytest.mark.parametrize(("low", "high"), [(0.3, 1.0), (1e-4, 1.0), (0.7, 1.3), (0.9, 1.1)])
def test_a_step_is_the_best_quintic_by_linear_programming(low: float, high: float) -> None:
    s = np.cos(np.linspace(0, np.pi, 4001)) * (high - low) / 2 + (high + low) / 2
    powers = np.stack([s, s**3, s**5], 1)
    ones = np.ones((len(s), 1))
    found = linprog(
        [0, 0, 0, 1],
        A_ub=np.block([[powers, -ones], [-powers, -ones]]),
        b_ub=np.concatenate([np.ones(len(s)), -np.ones(len(s))]),
        bounds=[(None, None)] * 3 + [(0, None)],
    )
    step, error = best_quintic(low, high)
    assert error == pytest.approx(found.x[3], rel=1e-3, abs=1e-9)
    assert np.abs(powers @ step - 1).max() == pytest.approx(error, rel=1e-6)


# ---- kernels --------------------------------------------------------------------------------------------


@pytest.fixture
def numbers(rng: np.random.Generator) -> dict[str, Any]:
    """Of 5 channels: moments, a target with its root, and matrices that are as good as any."""
    y, target = moments(rng, 5)[0], CovarianceRoot(np, moments(rng, 5)[0], 0.01)
    told = np.concatenate([target.mean, [target.trace, target.share, 0.37]])
    return {"y": y, "told": told, "share": target.share} | {
        name: rng.standard_normal((5, 5)) for name in ("a", "b")
    }


def test_covariance_and_its_scaling(rig: KernelRig, numbers: dict[str, Any]) -> None:
    y, told = numbers["y"].astype(np.float64), rig.buffer(numbers["told"])
    out = rig.empty((5, 5), np.float64)
    rig.run("w2_covariance", "fp32", 25, rig.buffer(numbers["y"]), told, out, 5)
    second, mean = (y[:, 1:] + y[:, 1:].T) / 2, y[:, :1]
    expected = second - mean @ mean.T + numbers["share"] * np.eye(5)
    np.testing.assert_allclose(out.read(), expected, rtol=1e-12, atol=1e-15)
    square = rig.buffer(np.array([7.0]))
    identity = rig.empty((5, 5), np.float64)
    rig.run("w2_normalise", "fp32", 25, rig.buffer(numbers["a"]), square, out, identity, 5)
    np.testing.assert_allclose(out.read(), (numbers["a"] + numbers["a"].T) / 2 / 7**0.5, rtol=1e-13)
    np.testing.assert_array_equal(identity.read(), np.eye(5))


@pytest.mark.parametrize(("size", "count"), [(2e-4, 25), (5e-5, 0), (np.nan, 25)])
def test_polynomial_counts_what_is_not_settled(
    rig: KernelRig, numbers: dict[str, Any], size: float, count: int
) -> None:
    x = np.eye(5) + size
    x2, counter = rig.buffer(numbers["a"]), rig.buffer(np.array([3], np.uint32))
    rig.run("w2_polynomial", "fp32", 25, rig.buffer(x), x2, counter, 5, 1.5, -0.25, 0.125)
    expected = 1.5 * np.eye(5) - 0.25 * x + 0.125 * numbers["a"]
    np.testing.assert_allclose(x2.read(), expected, rtol=1e-14)
    assert counter.read()[0] == 3 + count
    rig.run("w2_polynomial", "fp32", 25, rig.buffer(x), x2, None, 5, 0.0, 1.0, 0.0)
    np.testing.assert_array_equal(x2.read(), x)


@pytest.mark.parametrize("adds", [0, 1])
def test_loss_and_gradient_of_moments(rig: KernelRig, numbers: dict[str, Any], adds: int) -> None:
    y, told, a, b = (numbers[name] for name in ("y", "told", "a", "b"))
    square, weight, loss = np.array([81.0]), np.array([2.5], np.float32), rig.empty(1)
    held = [rig.buffer(value) for value in (y, told, a, b, square)]
    rig.run("w2_loss", "fp32", 256, *held, loss, 5)
    mean, shift = y[:, 0].astype(np.float64), y[:, 0] - told[:5]
    expected = 0.37 * (shift @ shift + np.trace(a) + told[5] - 2 * 3 * np.trace(b))
    assert loss.read()[0] == pytest.approx(expected, rel=1e-6)
    dy = rig.buffer(y * 0 + 0.5)
    operands = (rig.buffer(y), rig.buffer(told), rig.buffer(b), rig.buffer(square))
    rig.run("w2_gradient", "fp32", 30, *operands, rig.buffer(weight), dy, 5, adds)
    slope = np.eye(5) - b / 3
    whole = np.concatenate([(2 * shift - 2 * slope @ mean)[:, None], slope], 1)
    wanted = 2.5 * 0.37 * whole + (0.5 if adds else 0.0)
    np.testing.assert_allclose(dy.read(), wanted, rtol=1e-5, atol=1e-6)
