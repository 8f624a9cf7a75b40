"""Pooling as one with the rectified convolution before it, and calls that wait: against the reference."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from backend.cpu.nets import FROZEN, TOLERANCE, build, fill, same
from backend.cpu.oracle import relative_error

from nst.backend.cpu import CpuBackend
from nst.backend.numpy_backend import NumpyBackend
from nst.errors import BackendError

POOLED = f"""
layer {{ name: "data" type: "Parameter" top: "data"
        parameter_param {{ shape {{ dim: 1 dim: 3 dim: 37 dim: 45 }} filler {{ type: "gaussian" }} }} }}
layer {{ name: "c1" type: "Convolution" bottom: "data" top: "c1" {FROZEN} convolution_param {{
        num_output: 20 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }}
        bias_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "r1" type: "ReLU" bottom: "c1" top: "c1" }}
layer {{ name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param {{ kernel_size: 2 stride: 2 }} }}
layer {{ name: "c2" type: "Convolution" bottom: "p1" top: "c2" {FROZEN} convolution_param {{
        num_output: 35 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "r2" type: "ReLU" bottom: "c2" top: "c2" }}
layer {{ name: "p2" type: "Pooling" bottom: "c2" top: "p2" pooling_param {{ kernel_size: 2 stride: 2 }} }}
layer {{ name: "g2" type: "Gram" bottom: "p2" top: "g2" gram_param {{ normalize: HW }} }}
layer {{ name: "t" type: "Input" top: "t1" input_param {{ shape {{ dim: 1 dim: 35 dim: 35 }} }} }}
layer {{ name: "l2" type: "EuclideanLoss" bottom: "g2" bottom: "t1" top: "l2" }}
"""


@pytest.fixture(scope="module")
def cpu() -> CpuBackend:
    return CpuBackend(2)


@pytest.mark.parametrize("extent", [(37, 45), (8, 8), (1, 5)], ids=str)
def test_a_pooled_convolution_reads_its_gradient_in_halves(
    cpu: CpuBackend, extent: tuple[int, int]
) -> None:
    text = POOLED.replace("dim: 37 dim: 45", f"dim: {extent[0]} dim: {extent[1]}")
    net = build(cpu, text, recycle_gradients=True)
    reference = build(NumpyBackend(), text, dtype=np.float64)
    for seed in range(3):
        fill(net, seed)
        fill(reference, seed)
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=1e-5)
        assert same(net, reference, "data", "diff")
    for blob in ("c1", "c2", "p2"):
        assert same(net, reference, blob)
    with pytest.raises(BackendError, match=r"'c2': its gradient was not kept"):
        _ = net.blobs["c2"].diff


def test_a_layer_that_the_engine_does_not_know_finds_what_was_put_off(cpu: CpuBackend) -> None:
    text = POOLED.replace('bottom: "g2"', 'bottom: "th"').replace(
        'layer { name: "t" type',
        'layer { name: "th" type: "TanH" bottom: "g2" top: "th" } layer { name: "t" type',
    )
    net = build(cpu, text, recycle_gradients=True)
    reference = build(NumpyBackend(), text, dtype=np.float64)
    for seed in range(2):
        for n in (net, reference):
            fill(n, seed)
            n.forward_backward()
        assert same(net, reference, "th")
        assert same(net, reference, "data", "diff")


def test_a_loss_weight_on_a_gram_matrix_counts_what_this_run_computes(cpu: CpuBackend) -> None:
    text = POOLED.replace('name: "g2"', 'name: "g2" loss_weight: 3')
    net = build(cpu, text, recycle_gradients=True)
    reference = build(NumpyBackend(), text, dtype=np.float64)
    for seed in range(3):
        for n in (net, reference):
            fill(n, seed)
        assert net.forward_from_to() == pytest.approx(reference.forward_from_to(), rel=1e-5)


def test_a_view_that_is_kept_shows_a_map_that_is_only_pooled(cpu: CpuBackend) -> None:
    net = build(cpu, POOLED, recycle_gradients=True)
    reference = build(NumpyBackend(), POOLED, dtype=np.float64)
    view = net.blobs["c2"].data
    for seed in range(2):
        for n in (net, reference):
            fill(n, seed)
            n.forward_backward()
        assert relative_error(view, reference.blobs["c2"].data) < TOLERANCE
        assert same(net, reference, "data", "diff")


def test_a_run_may_end_before_the_pooling(cpu: CpuBackend) -> None:
    net = build(cpu, POOLED, recycle_gradients=True)
    reference = build(NumpyBackend(), POOLED, dtype=np.float64)
    for n in (net, reference):
        n.forward_from_to(0, n.layer_index("r2"))
    assert same(net, reference, "c2")
    for n in (net, reference):
        n.forward_from_to(n.layer_index("p2"))
        n.backward_from_to()
    assert same(net, reference, "data", "diff")


def test_a_net_with_maps_that_were_never_written_is_freed_at_once(cpu: CpuBackend) -> None:
    net = build(cpu, POOLED, recycle_gradients=True)
    net.forward_backward()
    blob = weakref.ref(net.blobs["c2"])
    gc.disable()
    try:
        del net
        assert blob() is None
    finally:
        gc.enable()


def test_values_written_before_a_pooled_backward_run_count(cpu: CpuBackend) -> None:
    net, reference = build(cpu, POOLED, recycle_gradients=True), build(NumpyBackend(), POOLED)
    for n in (net, reference):
        n.forward_from_to()
        n.blobs["c2"].data[:, ::2] = 0  # closes the ReLU of every other channel
        n.backward_from_to()
    assert same(net, reference, "data", "diff")
