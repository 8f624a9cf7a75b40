"""EVENT gated by its target in compiled nets, as preset `mycaffe` makes it, with the reference's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cuda.conftest import Engine
from backend.cuda.host_device import HostDevice
from backend.cuda.test_program import PICTURE, convolution, error, gradient, gram_loss, program_of

from nst.backend import Backend
from nst.backend.cuda.backend import CudaBackend
from nst.backend.numpy_backend import NumpyBackend
from nst.core import RandomSource
from nst.io.prototxt import parse_net
from nst.net import Net

TOLERANCE = {"fp32": (1e-6, 2e-6), "fp16": (2e-3, 0.02), "bf16": (2e-2, 0.1)}
"""Of the loss, and of the picture's gradient in the L2 norm."""

CONTENT = """
layer {{ name: "s" type: "Scalar" bottom: "{0}" top: "s" scalar_param {{
        value: {1} passthrough_gradient: true }} }}
layer {{ name: "t_s" type: "Input" top: "t_s" input_param {{ shape {{ dim: 1 dim: 20 dim: 37 dim: 45 }} }} }}
layer {{ name: "s2" type: "Scalar" bottom: "t_s" top: "s2" scalar_param {{ value: {1} }} }}
layer {{ name: "e_s" type: "Event" bottom: "s" bottom: "{2}" top: "e_s" }}
layer {{ name: "l_s" type: "EuclideanLoss" bottom: "e_s" bottom: "s2" top: "l_s" loss_weight: 400 }}"""


def net_of(target: str, value: str = "1e-4") -> str:
    """Content of 20 channels, which do not fill groups; a Gram matrix; gates of both by their targets."""
    text = PICTURE + convolution("c1", "data", 16) + convolution("c2", "c1", 20)
    text += gram_loss("c1", 16, 40.0) + CONTENT.format("c2", value, target)
    return text.replace('type: "Event"', 'type: "Event" event_param { gate: TARGET_NONZERO }')


def painting_net(text: str, backend: Backend) -> Net:
    return Net(parse_net(text), backend=backend, rng=RandomSource(3), recycle_gradients=True)


def write_targets(net: Net, seed: int) -> None:
    """Values of both signs, two of five of them zero."""
    rng = np.random.default_rng(seed)
    for name in ("t_c1", "t_s"):
        values = rng.standard_normal(net.blobs[name].shape).astype(np.float32)
        values[rng.random(values.shape) < 0.4] = 0
        net.blobs[name].data[...] = net.backend.asarray(values, np.float32)


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("target", ["t_s", "s2"])
def test_the_gradient_passes_where_the_target_is_not_zero(
    target: str, precision: str, engine: Engine
) -> None:
    """The zeros of a target that is written anew are the ones that count."""
    loss_error, gradient_error = TOLERANCE[precision]
    net = painting_net(net_of(target), engine(precision))
    reference = painting_net(net_of(target), NumpyBackend())
    for seed in (1, 2, 3):
        for each in (net, reference):
            write_targets(each, seed)
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=loss_error)
        assert error(gradient(net), gradient(reference)) < gradient_error
    assert not program_of(net).run.foreign


def test_a_target_that_the_net_computes_is_gated_by_the_layer(engine: Engine) -> None:
    text = net_of("c2")
    net, reference = (
        painting_net(text, engine()),
        painting_net(text, NumpyBackend()),
    )
    for each in (net, reference):
        write_targets(each, 1)
    assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=1e-6)
    assert error(gradient(net), gradient(reference)) < 2e-6
    assert {net.layers[index].name for index in program_of(net).run.foreign} == {"e_s"}


def test_a_gate_with_a_slope_is_no_part_of_the_convolution() -> None:
    """cuDNN's gradient behind a gate lets nothing through where values are not positive."""
    text = PICTURE + convolution("c1", "data", 16) + convolution("c2", "c1", 16)
    text = text.replace('top: "c1" }', 'top: "c1" relu_param { negative_slope: 0.3 } }')
    text += gram_loss("c2", 16, 3.0)
    net = painting_net(text, CudaBackend(HostDevice(fuses_gates=True)))
    reference = painting_net(text, NumpyBackend())
    assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=1e-6)
    assert error(gradient(net), gradient(reference)) < 2e-6


def test_the_top_of_an_event_shows_its_bottom_also_where_that_is_no_map(engine: Engine) -> None:
    net = painting_net(net_of("t_s"), engine())
    for _ in range(2):
        net.forward_backward()
        got, expected = (net.blobs[name].to_host() for name in ("e_c1", "g_c1"))
        assert np.abs(expected).max() > 0
        np.testing.assert_array_equal(got, expected)
