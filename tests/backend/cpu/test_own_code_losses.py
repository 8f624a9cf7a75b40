"""Losses by a layer's own code behind maps whose gradients share memory: their gradients begin elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cpu.nets import FROZEN, fill
from backend.cpu.oracle import relative_error

from nst.backend import Backend
from nst.backend.cpu import CpuBackend
from nst.backend.numpy_backend import NumpyBackend
from nst.core import RandomSource
from nst.io.prototxt import parse_net
from nst.net import Net


def convolution(name: str, bottom: str, kernel: int, outputs: int = 16) -> str:
    return f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {FROZEN} convolution_param {{
        num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} weight_filler {{ type: "msra" }}
        bias_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "r_{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}"""


FIRE = (
    """
layer { name: "data" type: "Parameter" top: "data"
        parameter_param { shape { dim: 1 dim: 3 dim: 14 dim: 17 } } }
layer { name: "tc" type: "Input" top: "tc"
        input_param { shape { dim: 1 dim: 32 dim: 14 dim: 17 } } }"""
    + convolution("squeeze", "data", 3)
    + convolution("expand1", "squeeze", 1)
    + convolution("expand3", "squeeze", 3)
    + """
layer { name: "cat" type: "Concat" bottom: "expand1" bottom: "expand3" top: "cat" }"""
)
"""A fire module of SqueezeNet: two convolutions with their ReLUs in place, side by side, joined."""
BEFORE_THE_LOSS = {
    "nothing": "",
    "event": 'layer { name: "e" type: "Event" bottom: "cat" top: "e" event_param { gate: NONE } }',
    "gate": 'layer { name: "e" type: "Event" bottom: "cat" bottom: "tc" top: "e" }',
    "scalar": 'layer { name: "e" type: "Scalar" bottom: "cat" top: "e" scalar_param { value: 0.5 } }',
    "factor in place": 'layer { name: "e" type: "Scalar" bottom: "cat" top: "cat" '
    "scalar_param { value: 0.5 } }",
    "normalised": 'layer { name: "e" type: "LRN" bottom: "cat" top: "e" lrn_param { alpha: 0.1 } }',
    "pooled": 'layer { name: "e" type: "Pooling" bottom: "cat" top: "e" '
    "pooling_param { kernel_size: 3 stride: 1 pad: 1 } }",
    "another join": 'layer { name: "e" type: "Concat" bottom: "squeeze" bottom: "cat" top: "e" }'
    'layer { name: "cut" type: "Slice" bottom: "e" top: "unused" top: "f" slice_param { slice_point: 16 } }'
    'layer { name: "s" type: "Silence" bottom: "unused" }',
}


def painting_net(between: str, backend: Backend, dtype: type) -> Net:
    read = "f" if '"f"' in between else "e" if 'top: "e"' in between else "cat"
    text = FIRE + between
    text += f'layer {{ name: "l" type: "RelativeLoss" bottom: "{read}" bottom: "tc" top: "l" }}'
    net = Net(
        *(parse_net(text),),
        backend=backend,
        rng=RandomSource(3),
        dtype=dtype,
        recycle_gradients=backend.name == "cpu",
    )
    net.forward_from_to(0, 0)
    fill(net, 0)
    return net


@pytest.mark.parametrize("between", BEFORE_THE_LOSS.values(), ids=list(BEFORE_THE_LOSS))
def test_the_gradient_of_joined_maps_is_the_references(cpu: CpuBackend, between: str) -> None:
    net = painting_net(between, cpu, np.float32)
    reference = painting_net(between, NumpyBackend(), np.float64)
    for seed in range(3):
        for each in (net, reference):
            fill(each, seed)
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=1e-5)
        got, expected = net.blobs["data"].diff, reference.blobs["data"].diff
        assert relative_error(got, expected) < 1e-5


IN_PLACE = {
    "scalar": 'type: "Scalar" scalar_param { value: -0.5 }',
    "batch norm": 'type: "BatchNorm" batch_norm_param { use_global_stats: true eps: 0.5 }',
    "relu": 'type: "ReLU" relu_param { negative_slope: 0.5 }',
}


@pytest.mark.parametrize("rest", IN_PLACE.values(), ids=list(IN_PLACE))
@pytest.mark.parametrize("shared", ["Concat", "Event"])
def test_layers_in_place_leave_what_others_read_alone(
    cpu: CpuBackend, shared: str, rest: str
) -> None:
    """Parts of a joined map may lie in it, an Event's top may be its bottom; not if a layer works there."""
    parts = 'bottom: "expand1" bottom: "expand3"' if shared == "Concat" else 'bottom: "cat"'
    between = f'layer {{ name: "e" type: "{shared}" {parts} top: "e" }}'
    between += f'layer {{ name: "i" {rest} bottom: "e" top: "e" }}'
    more = 'layer { name: "v" type: "TVLoss" bottom: "expand1" top: "v" }'
    more += 'layer { name: "w" type: "TVLoss" bottom: "cat" top: "w" }'
    net = painting_net(between + more, cpu, np.float32)
    reference = painting_net(between + more, NumpyBackend(), np.float64)
    for seed in range(3):
        for each in (net, reference):
            fill(each, seed)
        net.forward_backward()
        reference.forward_backward()
        assert net.loss_terms() == pytest.approx(reference.loss_terms(), rel=1e-5)
        assert relative_error(net.blobs["data"].diff, reference.blobs["data"].diff) < 1e-5


def test_a_sum_that_a_batch_norm_adds_to_is_made_of_living_memory(cpu: CpuBackend) -> None:
    """BatchNorm lets its call run at once, and what it wrote is added to the sum later."""
    between = """
layer { name: "b" type: "BatchNorm" bottom: "cat" top: "b"
        batch_norm_param { use_global_stats: true eps: 0.5 } }
layer { name: "e" type: "Eltwise" bottom: "cat" bottom: "b" top: "e" }"""
    net = painting_net(between, cpu, np.float32)
    reference = painting_net(between, NumpyBackend(), np.float64)
    for seed in range(3):
        for each in (net, reference):
            fill(each, seed)
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=1e-5)
        assert relative_error(net.blobs["data"].diff, reference.blobs["data"].diff) < 1e-5


def test_lrn_runs_on_ranges_of_joined_maps_of_several_images(cpu: CpuBackend) -> None:
    """From the second run on its top is a range of the join, and its gradient always was: they have gaps."""
    text = FIRE.replace("dim: 1 dim: 32", "dim: 2 dim: 16").replace("dim: 1 ", "dim: 2 ")
    text += 'layer { name: "n" type: "LRN" bottom: "squeeze" top: "n" lrn_param { alpha: 0.1 } }'
    text += 'layer { name: "j" type: "Concat" bottom: "squeeze" bottom: "n" top: "j" }'
    text += convolution("last", "j", 3)
    text += 'layer { name: "l" type: "EuclideanLoss" bottom: "last" bottom: "tc" top: "l" }'
    options = {"rng": RandomSource(3), "recycle_gradients": True}
    net = Net(parse_net(text), backend=cpu, **options)
    reference = Net(parse_net(text), backend=NumpyBackend(), rng=RandomSource(3), dtype=np.float64)
    for each in (net, reference):
        each.forward_from_to(0, 0)
    for seed in range(3):
        for each in (net, reference):
            fill(each, seed)
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=1e-5)
        assert relative_error(net.blobs["data"].diff, reference.blobs["data"].diff) < 1e-5
