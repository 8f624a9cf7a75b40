"""Eltwise SUM and the split before it on the CPU engine: residual blocks."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cpu.oracle import relative_error

from nst.backend.cpu import CpuBackend
from nst.backend.numpy_backend import NumpyBackend
from nst.core import RandomSource
from nst.io.prototxt import parse_net
from nst.net import Net

CONVOLUTION = """layer {{ name: "{1}" type: "Convolution" bottom: "{0}" top: "{1}" convolution_param {{
    num_output: 20 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}"""
NET = f"""
force_backward: true
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: 5 dim: 7 dim: 9 }} }} }}
layer {{ name: "t" type: "Input" top: "t" input_param {{ shape {{ dim: 2 dim: 20 dim: 7 dim: 9 }} }} }}
{CONVOLUTION.format("data", "a")}
{CONVOLUTION.format("a", "b")}
{CONVOLUTION.format("a", "c")}
layer {{ name: "sum" type: "Eltwise" bottom: "a" bottom: "b" bottom: "c" top: "sum"
        eltwise_param {{ coeff: 1 coeff: -0.5 coeff: 2 }} }}
layer {{ name: "relu" type: "ReLU" bottom: "sum" top: "sum" }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "sum" bottom: "t" top: "loss" }}
"""
TWO = NET.replace('bottom: "c" top: "sum"', 'top: "sum"').replace(" coeff: 2", "")


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


@pytest.mark.parametrize("text", [NET, TWO], ids=["three", "two"])
def test_sums_have_the_values_and_gradients_of_the_reference(cpu: CpuBackend, text: str) -> None:
    net, reference = build(text, cpu), build(text, None)
    for n in (net, reference):
        n.forward_backward()
        n.forward_backward()
    wrong = [
        (name, side)
        for name, blob in net.blobs.items()
        for side in ("data", "diff")
        if relative_error(getattr(blob, side), getattr(reference.blobs[name], side)) > 1e-5
    ]
    assert wrong == []


def test_recycled_gradients_end_in_the_same_gradient(cpu: CpuBackend) -> None:
    net, reference = build(NET, cpu, recycle=True), build(NET, None)
    for n in (net, reference):
        n.forward_backward()
    assert relative_error(net.blobs["data"].diff, reference.blobs["data"].diff) < 1e-5


def test_a_callback_sees_the_sum_before_it_is_rectified(cpu: CpuBackend) -> None:
    net = build(NET, cpu)
    seen: dict[int, float] = {}
    net.after_forward.append(lambda i: seen.setdefault(i, float(net.tops_of(i)[0].data.min())))
    net.forward_from_to()
    assert seen[net.layer_index("sum")] < 0 == seen[net.layer_index("relu")]
