"""Whole nets on the CPU engine: the reference's numbers, whoever looks, writes or stops when."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from backend.cpu.nets import FROZEN, INPUTS, TOLERANCE, build, fill, same
from backend.cpu.oracle import relative_error

from nst.backend.cpu import CpuBackend
from nst.backend.numpy_backend import NumpyBackend
from nst.core import RandomSource
from nst.errors import BackendError
from nst.io.prototxt import parse_net
from nst.net import Net

NET = f"""
layer {{ name: "data" type: "Parameter" top: "data"
        parameter_param {{ shape {{ dim: 1 dim: 3 dim: 37 dim: 45 }} filler {{ type: "gaussian" }} }} }}
layer {{ name: "c1" type: "Convolution" bottom: "data" top: "c1" {FROZEN} convolution_param {{
        num_output: 20 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }}
        bias_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "r1" type: "ReLU" bottom: "c1" top: "c1" }}
layer {{ name: "c2" type: "Convolution" bottom: "c1" top: "c2" {FROZEN} convolution_param {{
        num_output: 48 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "r2" type: "ReLU" bottom: "c2" top: "c2" }}
layer {{ name: "p1" type: "Pooling" bottom: "c2" top: "p1" pooling_param {{ kernel_size: 2 stride: 2 }} }}
layer {{ name: "n1" type: "LRN" bottom: "p1" top: "n1" }}
layer {{ name: "e1" type: "Convolution" bottom: "n1" top: "e1" {FROZEN} convolution_param {{
        num_output: 32 kernel_size: 1 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "re1" type: "ReLU" bottom: "e1" top: "e1" }}
layer {{ name: "e3" type: "Convolution" bottom: "n1" top: "e3" {FROZEN} convolution_param {{
        num_output: 32 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "re3" type: "ReLU" bottom: "e3" top: "e3" }}
layer {{ name: "cat" type: "Concat" bottom: "e1" bottom: "e3" top: "cat" }}
layer {{ name: "drop" type: "Dropout" bottom: "cat" top: "cat" }}
layer {{ name: "c5" type: "Convolution" bottom: "cat" top: "c5" {FROZEN} convolution_param {{
        num_output: 32 kernel_size: 5 stride: 2 pad: 2 group: 2 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "r5" type: "ReLU" bottom: "c5" top: "c5" relu_param {{ negative_slope: 0.1 }} }}
layer {{ name: "p2" type: "Pooling" bottom: "c5" top: "p2"
        pooling_param {{ pool: AVE kernel_size: 3 stride: 2 }} }}
layer {{ name: "g1" type: "Gram" bottom: "c1" top: "g1" gram_param {{ alpha: 0.01 }} }}
layer {{ name: "g2" type: "Gram" bottom: "c2" top: "g2" gram_param {{ normalize: HW }} }}
layer {{ name: "g3" type: "Gram" bottom: "cat" top: "g3" gram_param {{ normalize: CHW }} }}
layer {{ name: "t" type: "Input" top: "t1" top: "t2" top: "t3" top: "tc" top: "tp" input_param {{
        shape {{ dim: 1 dim: 20 dim: 20 }} shape {{ dim: 1 dim: 48 dim: 48 }}
        shape {{ dim: 1 dim: 64 dim: 64 }} shape {{ dim: 1 dim: 32 dim: 10 dim: 12 }}
        shape {{ dim: 1 dim: 32 dim: 5 dim: 6 }} }} }}
layer {{ name: "sc" type: "Scalar" bottom: "c5" top: "sc" scalar_param {{ value: 0.7 }} }}
layer {{ name: "ev" type: "Event" bottom: "sc" bottom: "tc" top: "ev" }}
layer {{ name: "lc" type: "EuclideanLoss" bottom: "ev" bottom: "tc" top: "lc" loss_weight: 300 }}
layer {{ name: "lp" type: "EuclideanLoss" bottom: "p2" bottom: "tp" top: "lp" loss_weight: 200 }}
layer {{ name: "l1" type: "EuclideanLoss" bottom: "g1" bottom: "t1" top: "l1" loss_weight: 0.2 }}
layer {{ name: "l2" type: "EuclideanLoss" bottom: "g2" bottom: "t2" top: "l2" loss_weight: 2 }}
layer {{ name: "l3" type: "EuclideanLoss" bottom: "g3" bottom: "t3" top: "l3" loss_weight: 2e5 }}
"""
TRAINED = NET.replace(FROZEN, "")


@pytest.fixture(scope="module")
def cpu() -> CpuBackend:
    return CpuBackend(2)


@pytest.fixture
def reference() -> Net:
    return build(NumpyBackend(), NET, dtype=np.float64)


def feature_blobs(net: Net) -> list[str]:
    return [name for name, blob in net.blobs.items() if name not in INPUTS and blob.shape]


def test_loss_and_every_blob_are_those_of_the_reference(cpu: CpuBackend, reference: Net) -> None:
    net = build(cpu, NET)
    for seed in range(3):  # concatenation writes in place from the second run on
        fill(net, seed)
        fill(reference, seed)
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=1e-5)
    wrong = [
        (name, side)
        for name in ["data", *feature_blobs(net)]
        for side in ("data", "diff")
        if not same(net, reference, name, side)
    ]
    assert wrong == []


def test_recycled_gradients_end_in_the_same_picture_gradient(
    cpu: CpuBackend, reference: Net
) -> None:
    net = build(cpu, NET, recycle_gradients=True)
    for seed in range(3):
        fill(net, seed)
        fill(reference, seed)
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=1e-5)
        assert same(net, reference, "data", "diff")


def test_a_recycled_gradient_is_an_error_and_never_a_wrong_number(cpu: CpuBackend) -> None:
    net = build(cpu, NET, recycle_gradients=True)
    net.forward_backward()
    with pytest.raises(BackendError, match=r"'c2': its gradient was not kept.*recycle_gradients"):
        _ = net.blobs["c2"].diff


def test_parameter_gradients_are_those_of_the_reference(cpu: CpuBackend) -> None:
    net, reference = build(cpu, TRAINED), build(NumpyBackend(), TRAINED, dtype=np.float64)
    for n in (net, reference):
        n.forward_backward()
        n.forward_backward()  # gradients of parameters add up
    wrong = [
        (name, i)
        for name, blobs in net.params.items()
        for i, blob in enumerate(blobs)
        if relative_error(blob.diff, reference.params[name][i].diff) > TOLERANCE
    ]
    assert wrong == []


def test_a_run_that_ends_before_the_relu_shows_unrectified_values(
    cpu: CpuBackend, reference: Net
) -> None:
    net = build(cpu, NET)
    for n in (net, reference):
        n.forward_from_to(0, n.layer_index("c2"))
    assert (net.blobs["c2"].data < 0).any()
    assert same(net, reference, "c2")
    for n in (net, reference):
        n.forward_from_to(n.layer_index("r2"))
    assert same(net, reference, "c2")
    assert same(net, reference, "p2")


def test_a_backward_run_may_start_at_a_gradient_that_the_user_wrote(
    cpu: CpuBackend, reference: Net
) -> None:
    net = build(cpu, NET)
    for n in (net, reference):
        n.forward_from_to()
        n.blobs["p1"].diff[...] = np.random.default_rng(5).standard_normal(n.blobs["p1"].shape)
        n.blobs["g1"].diff[...] = 0
        n.backward_from_to(n.layer_index("p1"), 0)
    assert same(net, reference, "data", "diff")


def test_segments_of_a_backward_run_may_be_added_to_in_between(
    cpu: CpuBackend, reference: Net
) -> None:
    net = build(cpu, NET)
    for n in (net, reference):
        n.forward_from_to()
        n.backward_from_to(None, n.layer_index("c5"))
        n.blobs["c2"].diff[...] = 1
        n.blobs["c2"].diff[...] += 0.5
        n.backward_from_to(n.layer_index("r2"), 0)
    assert same(net, reference, "data", "diff")


def test_a_callback_sees_what_each_layer_alone_has_made(cpu: CpuBackend, reference: Net) -> None:
    seen: dict[int, list[np.ndarray]] = {}
    net = build(cpu, NET)
    for n in (net, reference):
        n.after_forward.append(
            lambda i, n=n: seen.setdefault(i, []).append(np.array(n.tops_of(i)[0].data))
        )
        n.forward_from_to()
    wrong = [i for i, (a, b) in seen.items() if b.any() and relative_error(a, b) > TOLERANCE]
    assert wrong == []


def test_values_that_the_user_writes_in_between_are_used(cpu: CpuBackend, reference: Net) -> None:
    net = build(cpu, NET)
    for n in (net, reference):
        n.forward_from_to(0, n.layer_index("r1"))
        n.blobs["c1"].data[0, 4] = 2.5
        n.forward_from_to(n.layer_index("c2"))
        n.backward_from_to()
    assert same(net, reference, "p2")
    assert same(net, reference, "data", "diff")


def test_a_view_that_is_held_shows_new_values_and_may_be_written(
    cpu: CpuBackend, reference: Net
) -> None:
    net = build(cpu, NET)
    net.forward_from_to()
    held, picture = net.blobs["c1"].data, net.blobs["data"].data
    for n in (net, reference):
        fill(n, 1)
        n.forward_from_to(0, n.layer_index("r1"))
    assert relative_error(held, reference.blobs["c1"].data) < TOLERANCE
    held[0, 3] = reference.blobs["c1"].data[0, 3] = -1
    picture[...] = 0
    for n in (net, reference):
        n.forward_from_to(n.layer_index("c2"))
    assert same(net, reference, "p2")


def test_new_weights_are_used_however_they_were_written(cpu: CpuBackend, reference: Net) -> None:
    net = build(cpu, NET)
    net.forward_from_to()
    held = net.params["c2"][0].data
    for n in (net, reference):
        n.forward_from_to()
    held[...] *= -1
    reference.params["c2"][0].data[...] *= -1
    for n in (net, reference):
        n.params["c1"][1].data[...] += 0.5
        n.forward_from_to()
    assert same(net, reference, "c1")
    assert same(net, reference, "p2")


def test_the_picture_may_change_its_size(cpu: CpuBackend) -> None:
    text = NET.split('layer { name: "g1"')[0].replace(
        'type: "Parameter" top: "data"', 'type: "Input" top: "data"'
    )
    text = text.replace("parameter_param", "input_param").replace('filler { type: "gaussian" }', "")
    nets = [Net(parse_net(text), backend=b, rng=RandomSource(3)) for b in (cpu, NumpyBackend())]
    for extent in ((37, 45), (64, 20), (21, 70)):
        x = np.random.default_rng(1).standard_normal((2, 3, *extent))
        for n in nets:
            n.blobs["data"].reshape(2, 3, *extent)
            n.blobs["data"].data[...] = x
            n.forward_from_to()
        assert relative_error(nets[0].blobs["p2"].data, nets[1].blobs["p2"].data) < TOLERANCE


def test_nets_that_share_weights_share_their_packed_filters(cpu: CpuBackend) -> None:
    first, second = build(cpu, NET), build(cpu, NET)
    second.share_trained_layers_with(first)
    first.forward_from_to()
    packed = first.params["c2"][0].data_memory.native
    second.forward_from_to()
    assert second.params["c2"][0].data_memory.native is packed
    assert packed.packs
    np.testing.assert_array_equal(first.blobs["p2"].data, second.blobs["p2"].data)


def test_filters_are_packed_once(cpu: CpuBackend) -> None:
    net = build(cpu, NET, recycle_gradients=True)
    net.forward_backward()
    packed = net.params["c2"][0].data_memory.native
    net.forward_backward()
    assert net.params["c2"][0].data_memory.native is packed


def test_inner_values_stay_in_the_engines_layout_until_someone_looks(cpu: CpuBackend) -> None:
    net = build(cpu, NET, recycle_gradients=True)
    net.forward_backward()
    net.forward_backward()
    planar = [
        name
        for name, blob in net.blobs.items()
        if len(blob.shape) == 4
        and not name.startswith(INPUTS)
        and blob.data_memory.flat is not None
    ]
    assert planar == []


def test_results_are_the_same_bits_for_any_number_of_threads() -> None:
    gradients = []
    for threads in (1, 2, 3):
        net = build(CpuBackend(threads), NET, recycle_gradients=True)
        net.forward_backward()
        gradients.append(np.array(net.blobs["data"].diff))
    np.testing.assert_array_equal(gradients[1], gradients[0])
    np.testing.assert_array_equal(gradients[2], gradients[0])


def test_a_dropped_net_is_freed_without_the_garbage_collector(cpu: CpuBackend) -> None:
    net = build(cpu, NET)
    net.forward_backward()
    memory = weakref.ref(net.blobs["c2"].data_memory)
    gc.disable()
    del net
    freed = memory() is None
    gc.enable()
    assert freed


def test_an_error_in_the_middle_of_a_run_leaves_the_net_usable(
    cpu: CpuBackend, reference: Net
) -> None:
    net = build(cpu, NET, recycle_gradients=True)

    def fail(index: int) -> None:
        raise RuntimeError(str(index))

    net.forward_from_to()
    net.before_backward.append(fail)
    with pytest.raises(RuntimeError):
        net.backward_from_to()
    net.before_backward.clear()
    net.forward_backward()
    reference.forward_backward()
    assert same(net, reference, "data", "diff")
