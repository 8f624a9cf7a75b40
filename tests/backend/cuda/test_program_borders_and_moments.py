"""Borders and moments in compiled nets: what preset `fine` puts into them, with the reference's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cuda.conftest import Engine
from backend.cuda.test_program import PICTURE, convolution, gram_loss, pooling

from nst.backend import Backend
from nst.backend.cuda.program.program import CudaProgram
from nst.backend.numpy_backend import NumpyBackend
from nst.core import RandomSource
from nst.io.prototxt import parse_net
from nst.net import Net

TOLERANCE = {"fp32": 2e-5, "fp16": 0.02, "bf16": 0.15}


def pad(name: str, bottom: str, mode: str, sizes: tuple[int, int] = (1, 1)) -> str:
    return f"""
layer {{ name: "{name}" type: "Pad" bottom: "{bottom}" top: "{name}"
        pad_param {{ pad_h: {sizes[0]} pad_w: {sizes[1]} mode: {mode} }} }}"""


def moments_loss(bottom: str, channels: int, weight: float, rest: str = "") -> str:
    return f"""
layer {{ name: "m_{bottom}" type: "Moments" bottom: "{bottom}" top: "m_{bottom}"
        moments_param {{ {rest} }} }}
layer {{ name: "t_{bottom}" type: "Input" top: "t_{bottom}"
        input_param {{ shape {{ dim: 1 dim: {channels} dim: {channels + 1} }} }} }}
layer {{ name: "l_{bottom}" type: "EuclideanLoss" bottom: "m_{bottom}" bottom: "t_{bottom}"
        top: "l_{bottom}" loss_weight: {weight} }}"""


def net_of(mode: str) -> str:
    """Every convolution behind a border, one of them behind a tap; moments of features and of the picture."""
    return (
        PICTURE
        + pad("b1", "data", mode, (2, 3))
        + convolution("c1", "b1", 16, "kernel_size: 3")
        + pad("b2", "c1", mode)
        + convolution("c2", "b2", 20, "kernel_size: 3")
        + pooling("p1", "c2")
        + pad("b3", "p1", mode)
        + convolution("c3", "b3", 17, "kernel_size: 3")
        + moments_loss("c1", 16, 3.0, "mean_scale: 2")
        + moments_loss("c3", 17, 5.0)
    )


def run(backend: Backend, text: str, times: int = 1) -> tuple[float, np.ndarray, Net]:
    net = Net(parse_net(text), backend=backend, rng=RandomSource(5), recycle_gradients=True)
    for _ in range(times):
        loss = net.forward_backward()
    return loss, np.array(net.learnable_params[0].diff_to_host(), np.float64), net


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("mode", ["REPLICATE", "REFLECT", "ZERO", "CIRCULAR"])
def test_a_net_with_borders_and_moments_is_the_reference(
    mode: str, precision: str, engine: Engine
) -> None:
    backend = engine(precision)
    loss, gradient, net = run(backend, net_of(mode), times=3)
    expected_loss, expected, _ = run(NumpyBackend(), net_of(mode))
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE[precision])
    error = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
    assert error < TOLERANCE[precision]
    program = net._compilation.current
    assert isinstance(program, CudaProgram)
    own_code = {net.layers[index].type for index in program.run.foreign}
    assert own_code == {"EuclideanLoss"}  # of 17 * 18 numbers, which do not fill groups of eight


@pytest.mark.parametrize("precision", TOLERANCE)
def test_trimmed_maps_are_the_reference(precision: str, engine: Engine) -> None:
    """A margin that is all but one place of the smaller map; features that are read with and without it."""
    trim = """
layer {{ name: "{0}" type: "Trim" bottom: "{1}" top: "{0}" trim_param {{ margin: {2} }} }}"""
    text = (
        PICTURE
        + convolution("c1", "data", 16)
        + trim.format("inside1", "c1", 2)
        + convolution("c2", "c1", 20, "kernel_size: 3 stride: 8")
        + trim.format("inside2", "c2", 9)
        + gram_loss("inside1", 16, 3.0)
        + gram_loss("c1", 16, 2.0)
        + gram_loss("inside2", 20, 5.0)
    )
    loss, gradient, net = run(engine(precision), text, times=3)
    expected_loss, expected, _ = run(NumpyBackend(), text)
    assert net.blobs["inside2"].shape == (1, 20, 1, 2)
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE[precision])
    error = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
    assert error < TOLERANCE[precision]
    program = net._compilation.current
    assert isinstance(program, CudaProgram)
    assert not program.run.foreign


def test_other_moments_run_by_the_layer_in_the_middle(engine: Engine) -> None:
    text = (
        PICTURE
        + convolution("c1", "data", 16)
        + moments_loss("c1", 16, 3.0)
        .replace("dim: 17", "dim: 2")
        .replace("moments_param { ", "moments_param { second: DIAGONAL ")
    )
    loss, gradient, net = run(engine(), text)
    expected_loss, expected, _ = run(NumpyBackend(), text)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)
    assert net._compilation.current.run.foreign
