"""Pad on the CPU engine: every mode, in both directions."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cpu.oracle import relative_error

from nst.backend.cpu import CpuBackend
from nst.backend.numpy_backend import NumpyBackend
from nst.backend.operations import Border
from nst.core import RandomSource
from nst.io.prototxt import parse_net
from nst.net import Net

NET = """
force_backward: true
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: 5 dim: 4 dim: 7 }} }} }}
layer {{ name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param {{
        num_output: 20 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "pad" type: "Pad" bottom: "a" top: "pad" pad_param {{ {pads} mode: {mode} }} }}
layer {{ name: "b" type: "Convolution" bottom: "pad" top: "b" convolution_param {{
        num_output: 17 kernel_size: 3 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "t" type: "Input" top: "t" input_param {{ shape {{ dim: 2 dim: 17 dim: {h} dim: {w} }} }} }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "b" bottom: "t" top: "loss" }}
"""


def build(text: str, backend: CpuBackend | None, *, recycle: bool = False) -> Net:
    dtype = np.float64 if backend is None else np.float32
    net = Net(
        parse_net(text),
        backend=backend or NumpyBackend(),
        dtype=dtype,
        rng=RandomSource(3),
        recycle_gradients=recycle,
    )
    rng = np.random.default_rng(0)
    for name in ("data", "t"):
        net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
    return net


@pytest.mark.parametrize("mode", ["REPLICATE", "REFLECT", "ZERO", "CIRCULAR"])
@pytest.mark.parametrize("pads", [(1, 1), (3, 2), (0, 3)], ids=str)
def test_values_and_gradients_are_those_of_the_reference(
    cpu: CpuBackend, mode: str, pads: tuple[int, int]
) -> None:
    sizes = {"h": 4 + 2 * pads[0] - 2, "w": 7 + 2 * pads[1] - 2}
    text = NET.format(pads=f"pad_h: {pads[0]} pad_w: {pads[1]}", mode=mode, **sizes)
    net, reference = build(text, cpu), build(text, None)
    for n in (net, reference):
        n.forward_backward()
    step = net.execution.steps[net.layer_index("pad")]
    assert step is not None
    assert isinstance(step.operation, Border)
    wrong = [
        (name, side)
        for name, blob in net.blobs.items()
        for side in ("data", "diff")
        if relative_error(getattr(blob, side), getattr(reference.blobs[name], side)) > 1e-5
    ]
    assert wrong == []


def test_recycled_gradients_end_in_the_same_gradient(cpu: CpuBackend) -> None:
    text = NET.format(pads="pad_h: 1 pad_w: 1", mode="REPLICATE", h=4, w=7)
    net, reference = build(text, cpu, recycle=True), build(text, None)
    for n in (net, reference):
        n.forward_backward()
    assert relative_error(net.blobs["data"].diff, reference.blobs["data"].diff) < 1e-5
