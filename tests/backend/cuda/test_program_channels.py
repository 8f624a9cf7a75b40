"""Residual nets compiled for the GPU: BatchNorm by stored statistics, Scale, sums of maps."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cuda.conftest import Engine
from backend.cuda.test_program import (
    FROZEN,
    PICTURE,
    convolution,
    error,
    gradient,
    gram_loss,
    program_of,
)

from nst.backend import Backend
from nst.backend.numpy_backend import NumpyBackend
from nst.core import RandomSource
from nst.io.prototxt import parse_net
from nst.net import Net

TOLERANCE = {"fp32": (2e-6, 5e-6), "fp16": (3e-3, 0.05), "bf16": (3e-2, 0.2)}
"""Of the loss, and of the picture's gradient in the L2 norm."""


def normalised(name: str, bottom: str, outputs: int, rest: str = "use_global_stats: true") -> str:
    """A convolution, BatchNorm, Scale with a bias and ReLU, in place one after the other."""
    before, relu = convolution(name, bottom, outputs).rsplit("\nlayer", 1)
    return f"""{before}
layer {{ name: "bn_{name}" type: "BatchNorm" bottom: "{name}" top: "{name}"
        batch_norm_param {{ {rest} }} }}
layer {{ name: "sc_{name}" type: "Scale" bottom: "{name}" top: "{name}" {FROZEN} scale_param {{
        bias_term: true filler {{ type: "gaussian" mean: 1 std: 0.4 }}
        bias_filler {{ type: "gaussian" std: 0.3 }} }} }}
layer{relu}"""


NET = (
    PICTURE
    + normalised("c1", "data", 20)
    + normalised("c2", "c1", 20)
    + convolution("c3", "c2", 20)
    + """
layer { name: "sum" type: "Eltwise" bottom: "c1" bottom: "c2" bottom: "c3" top: "sum"
        eltwise_param { coeff: 1 coeff: -0.5 coeff: 2 } }
layer { name: "rsum" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "bn" type: "BatchNorm" bottom: "sum" top: "bn"
        batch_norm_param { use_global_stats: true eps: 0.1 } }
layer { name: "half" type: "Scale" bottom: "bn" top: "half" param { lr_mult: 0 }
        scale_param { filler { value: 0.5 } } }"""
    + normalised("c4", "half", 16)
    + gram_loss("c4", 16, 3.0)
    + gram_loss("sum", 20, 3.0)
)


def net_of(text: str, backend: Backend) -> Net:
    net = Net(parse_net(text), backend=backend, rng=RandomSource(3), recycle_gradients=True)
    rng = np.random.default_rng(1)
    for name in net.inputs:
        write(net.blobs[name], rng.standard_normal(net.blobs[name].shape))
    write_statistics(net, 2)
    return net


def write(blob: object, values: np.ndarray) -> None:
    blob.data[...] = blob.backend.asarray(values, np.float32)  # type: ignore[attr-defined]


def write_statistics(net: Net, seed: int) -> None:
    """Means, variances and how many batches they are the sums of; of `bn` none."""
    rng = np.random.default_rng(seed)
    for layer in net.layers:
        if layer.type == "BatchNorm" and layer.name != "bn":
            mean, variance, count = net.params[layer.name]
            write(mean, 7 * rng.standard_normal(mean.shape))
            write(variance, 7 * (0.2 + rng.random(variance.shape)))
            write(count, np.array([7.0]))


@pytest.mark.parametrize("precision", TOLERANCE)
def test_loss_and_gradient_are_those_of_the_reference(precision: str, engine: Engine) -> None:
    """With statistics that are written anew before the third run, after the recording."""
    loss_error, gradient_error = TOLERANCE[precision]
    net = net_of(NET, engine(precision))
    reference = net_of(NET, NumpyBackend())
    for seed in (2, 2, 3):
        for each in (net, reference):
            write_statistics(each, seed)
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=loss_error)
        assert error(gradient(net), gradient(reference)) < gradient_error
    assert not program_of(net).run.foreign


def test_statistics_of_the_batch_are_the_layers(engine: Engine) -> None:
    text = PICTURE + normalised("c1", "data", 16, "use_global_stats: false")
    text += convolution("c2", "c1", 16) + gram_loss("c2", 16, 3.0)
    net, reference = net_of(text, engine()), net_of(text, NumpyBackend())
    for _ in range(3):
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=2e-6)
    assert error(gradient(net), gradient(reference)) < 1e-5
    assert {net.layers[index].name for index in program_of(net).run.foreign} == {"bn_c1"}


def test_a_convolution_without_bias_keeps_the_zeros_that_it_adds(engine: Engine) -> None:
    """What launches know by its address alone must live as long as they do."""
    text = PICTURE + convolution("c1", "data", 16, "kernel_size: 3 bias_term: false")
    text = text.replace(FROZEN, "param { lr_mult: 0 }") + gram_loss("c1", 16, 3.0)
    net, reference = net_of(text, engine()), net_of(text, NumpyBackend())
    device = net.backend.device
    for _ in range(3):
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=2e-6)
        assert error(gradient(net), gradient(reference)) < 5e-6
        for array in [device.empty((16,), np.float32) for _ in range(99)]:
            array[...] = 1  # where the zeros were, if they were given back
