"""BatchNorm and Scale of whole nets on the CPU engine, joined with what follows them in place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from backend.cpu.oracle import normal, relative_error

from nst.backend.cpu import CpuBackend
from nst.backend.cpu.per_channel import moments
from nst.backend.numpy_backend import NumpyBackend
from nst.core import TEST, TRAIN, RandomSource
from nst.io.prototxt import parse_net
from nst.net import Net

LAYERS = {
    "norm": """layer {{ name: "norm" type: "BatchNorm" bottom: "{0}" top: "{1}"
               batch_norm_param {{ eps: 0.1 }} }}""",
    "scale": """layer {{ name: "scale" type: "Scale" bottom: "{0}" top: "{1}" scale_param {{ bias_term: true
                filler {{ type: "gaussian" mean: 1 std: 0.5 }} bias_filler {{ type: "gaussian" }} }} }}""",
    "twice": """layer {{ name: "twice" type: "Scale" bottom: "{0}" top: "{1}" scale_param {{
                filler {{ type: "gaussian" mean: -1 std: 0.5 }} }} }}""",
    "relu": 'layer {{ name: "relu" type: "ReLU" bottom: "{0}" top: "{1}" }}',
    "leaky": """layer {{ name: "leaky" type: "ReLU" bottom: "{0}" top: "{1}"
                relu_param {{ negative_slope: 0.1 }} }}""",
}
CONVOLUTION = """layer {{ name: "{1}" type: "Convolution" bottom: "{0}" top: "{1}" convolution_param {{
    num_output: 20 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }}
    bias_filler {{ type: "gaussian" }} }} }}"""
HEAD = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 3 dim: 5 dim: 13 dim: 9 } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 3 dim: 20 dim: 13 dim: 9 } } }
"""
LOSS = 'layer { name: "loss" type: "EuclideanLoss" bottom: "last" bottom: "t" top: "loss" }'
CHAINS = [
    ("norm", "scale", "relu"),
    ("norm", "relu"),
    ("norm", "leaky"),
    ("norm", "scale"),
    ("scale", "norm", "relu"),
    ("scale", "relu"),
    ("norm", "scale", "twice", "relu"),
    ("twice", "scale"),
]
TOLERANCE = 1e-5


def describe(chain: tuple[str, ...], own_top: bool) -> str:
    """A convolution, the chain in place on it (or on a top of its own), a convolution and a loss."""
    first = "own" if own_top else "conv"
    tops = [("conv" if i == 0 else first, first) for i in range(len(chain))]
    middle = [LAYERS[name].format(*ends) for name, ends in zip(chain, tops, strict=True)]
    parts = [CONVOLUTION.format("data", "conv"), *middle, CONVOLUTION.format(first, "last"), LOSS]
    return HEAD + "\n".join(parts)


def fill(net: Net, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name in ("data", "t"):
        net.blobs[name].data[...] = 1 + rng.standard_normal(net.blobs[name].shape)
    if seed == 0 and "norm" in net.params and net.phase == TEST:
        for blob, value in zip(net.params["norm"], (1.5, 4.0, 2.0), strict=True):
            blob.data[...] = value * (1 + np.arange(blob.count)).reshape(blob.shape)


def build(text: str, phase: int, backend: CpuBackend | None, *, recycle: bool = False) -> Net:
    dtype = np.float64 if backend is None else np.float32
    net = Net(
        parse_net(text),
        backend=backend or NumpyBackend(),
        phase=phase,
        dtype=dtype,
        rng=RandomSource(3),
        recycle_gradients=recycle,
    )
    fill(net, 0)
    return net


def differences(net: Net, reference: Net) -> Iterator[str]:
    for name, blob in net.blobs.items():
        for side in ("data", "diff"):
            got, expected = getattr(blob, side), getattr(reference.blobs[name], side)
            if relative_error(got, expected) > TOLERANCE:
                yield f"{name}.{side}"
    for name, blobs in net.params.items():
        for i, (blob, right) in enumerate(zip(blobs, reference.params[name], strict=True)):
            if relative_error(blob.data, right.data) > TOLERANCE:
                yield f"{name}[{i}].data"
            # A bias before batch statistics has no effect: its gradient is rounding.
            scale = max(1.0, float(np.abs(right.diff).max()))
            if np.abs(blob.diff - right.diff).max() > TOLERANCE * 10 * scale:
                yield f"{name}[{i}].diff"


@pytest.mark.parametrize("phase", [TRAIN, TEST], ids=["TRAIN", "TEST"])
@pytest.mark.parametrize("own_top", [False, True], ids=["in place", "own top"])
@pytest.mark.parametrize("chain", CHAINS, ids="-".join)
def test_every_blob_and_gradient_is_that_of_the_reference(
    cpu: CpuBackend, chain: tuple[str, ...], own_top: bool, phase: int
) -> None:
    text = describe(chain, own_top)
    net, reference = build(text, phase, cpu), build(text, phase, None)
    for seed in range(3):
        for n in (net, reference):
            fill(n, seed)
            n.forward_backward()  # parameter gradients and stored statistics add up
    assert list(differences(net, reference)) == []


def test_recycled_gradients_end_in_the_same_gradient(cpu: CpuBackend) -> None:
    text = describe(("norm", "scale", "relu"), True)
    net, reference = build(text, TRAIN, cpu, recycle=True), build(text, TRAIN, None)
    for seed in range(2):
        for n in (net, reference):
            fill(n, seed)
            n.forward_backward()
    assert relative_error(net.blobs["data"].diff, reference.blobs["data"].diff) < TOLERANCE
    for i in range(2):
        got, expected = net.params["scale"][i].diff, reference.params["scale"][i].diff
        assert relative_error(got, expected) < TOLERANCE


def test_a_callback_sees_what_each_layer_alone_has_made(cpu: CpuBackend) -> None:
    text = describe(("norm", "scale", "relu"), False)
    seen: dict[tuple[str, int], list[np.ndarray]] = {}
    for n in (build(text, TRAIN, cpu), build(text, TRAIN, None)):

        def forward(i: int, n: Net = n) -> None:
            seen.setdefault(("data", i), []).append(np.array(n.tops_of(i)[0].data))

        def backward(i: int, n: Net = n) -> None:
            if n.backward_plan.layers[i] and n.bottoms_of(i):
                seen.setdefault(("diff", i), []).append(np.array(n.bottoms_of(i)[0].diff))

        n.after_forward.append(forward)
        n.after_backward.append(backward)
        n.forward_backward()
    assert [key for key, (a, b) in seen.items() if relative_error(a, b) > TOLERANCE] == []


def test_runs_may_be_cut_between_any_two_layers(cpu: CpuBackend) -> None:
    text = describe(("norm", "scale", "relu"), False)
    net, reference = build(text, TRAIN, cpu), build(text, TRAIN, None)
    reference.forward_backward()
    for i in range(len(net.layers)):
        net.forward_from_to(i, i)
    for i in reversed(range(len(net.layers))):
        net.backward_from_to(i, i)
    assert list(differences(net, reference)) == []


def test_a_gradient_that_the_user_changes_between_scale_and_norm_is_used(cpu: CpuBackend) -> None:
    text = describe(("norm", "scale", "relu"), False)
    net, reference = build(text, TRAIN, cpu), build(text, TRAIN, None)
    for n in (net, reference):
        n.forward_from_to()
        n.backward_from_to(None, n.layer_index("scale"))
        n.blobs["conv"].diff[...] *= np.arange(9)
        n.backward_from_to(n.layer_index("norm"), 0)
    assert relative_error(net.blobs["data"].diff, reference.blobs["data"].diff) < TOLERANCE


def test_a_scale_that_reads_what_another_layer_overwrites_keeps_its_own_copy(
    cpu: CpuBackend,
) -> None:
    parts = [CONVOLUTION.format("data", "conv")]
    parts += ['layer { name: "fork" type: "Split" bottom: "conv" top: "a" top: "b" }']
    parts += [LAYERS["scale"].format("a", "left")]
    parts += ['layer { name: "s" type: "Sigmoid" bottom: "b" top: "b" }']
    parts += ['layer { name: "last" type: "Eltwise" bottom: "left" bottom: "b" top: "last" }']
    text = HEAD + "\n".join([*parts, LOSS])
    net = build(text, TRAIN, cpu)
    scale = net.layer_index("scale")
    assert net.execution.steps[scale] is None


def test_results_are_the_same_bits_for_any_number_of_threads() -> None:
    text = describe(("norm", "scale", "relu"), False).replace("dim: 13", "dim: 250")
    results = []
    for threads in (1, 2, 3):
        net = build(text, TRAIN, CpuBackend(threads))
        net.forward_backward()
        results.append((np.array(net.blobs["data"].diff), np.array(net.params["norm"][1].data)))
    for diff, variance in results[1:]:
        np.testing.assert_array_equal(diff, results[0][0])
        np.testing.assert_array_equal(variance, results[0][1])


@pytest.mark.parametrize(("shape", "offset"), [((2, 17, 3, 5), 0), ((3, 33, 61, 53), 1000.0)])
def test_moments_survive_a_mean_that_dwarfs_the_deviation(
    cpu: CpuBackend, rng: np.random.Generator, shape: tuple[int, int, int, int], offset: float
) -> None:
    engine = cpu.engine
    x = normal(rng, *shape) + np.float32(offset)
    blocked = engine.blocked(shape[0], shape[1], (shape[2], shape[3]))
    engine.to_blocked(x, blocked)
    mean, variance = moments(engine, blocked)
    np.testing.assert_allclose(mean, x.mean((0, 2, 3), dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(variance, x.var((0, 2, 3), dtype=np.float64), rtol=1e-7)
