"""Masks in compiled nets: regions of statistics, of the content and of the picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from backend.cuda.conftest import Engine
from backend.cuda.test_program import (
    PICTURE,
    convolution,
    error,
    gradient,
    pooling,
    program_of,
)

from nst.backend import Backend
from nst.backend.numpy_backend import NumpyBackend
from nst.core import RandomSource
from nst.errors import NetError
from nst.io.prototxt import parse_net
from nst.net import Net

TOLERANCE = {"fp32": (2e-6, 5e-6), "fp16": (3e-3, 0.05), "bf16": (3e-2, 0.2)}
"""Of the loss, and of the picture's gradient in the L2 norm."""


def input_of(name: str, *shape: int) -> str:
    dims = " ".join(f"dim: {size}" for size in shape)
    return f'\nlayer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}'


def region(bottom: str, mask: str, channels: int, kind: str, rest: str, weight: float) -> str:
    """A statistic of a region, and a loss on it."""
    name = f"{bottom}_{mask}"
    width = {"Gram": channels, "Moments": channels + 1}[kind]
    if "NONE mean" in rest:
        width = 1
    return (
        f'\nlayer {{ name: "s_{name}" type: "{kind}" bottom: "{bottom}" bottom: "{mask}"'
        + f' top: "s_{name}" {rest} }}'
        + input_of(f"t_{name}", 1, channels, width)
        + f'\nlayer {{ name: "l_{name}" type: "RelativeLoss" bottom: "s_{name}" bottom: "t_{name}"'
        + f' top: "l_{name}" loss_weight: {weight} }}'
    )


NET = (
    PICTURE
    + input_of("mask1", 1, 1, 37, 45)
    + input_of("mask2", 1, 1, 19, 23)
    + input_of("mask3", 1, 1, 19, 23)
    + input_of("kept", 1, 3, 37, 45)
    + input_of("content", 1, 24, 19, 23)
    + 'layer { name: "part" type: "Mask" bottom: "data" bottom: "mask1" top: "part" }'
    + 'layer { name: "picture" type: "Eltwise" bottom: "part" bottom: "kept" top: "picture" }'
    + convolution("c1", "picture", 16)
    + pooling("p1", "c1")
    + convolution("c2", "p1", 24)
    + region("c1", "mask1", 16, "Moments", "moments_param { mean_scale: 1.5 }", 3.0)
    + region("c2", "mask2", 24, "Gram", "gram_param { normalize: CHW alpha: 3 }", 2.0)
    + region("c2", "mask3", 24, "Moments", "moments_param { second: NONE mean_scale: 2 }", 1.0)
    + region(
        "p1",
        "mask2",
        16,
        "Gram",
        "gram_param { disable_scaling_on_gradient: true alpha: 0.5 }",
        1.0,
    )
    + 'layer { name: "m" type: "Mask" bottom: "c2" bottom: "mask3" top: "m" }'
    + 'layer { name: "mt" type: "Mask" bottom: "content" bottom: "mask3" top: "mt" }'
    + 'layer { name: "lc" type: "RelativeLoss" bottom: "m" bottom: "mt" top: "lc" loss_weight: 2 }'
)


def net_of(text: str, backend: Backend) -> Net:
    return Net(parse_net(text), backend=backend, rng=RandomSource(3), recycle_gradients=True)


def write_inputs(net: Net, seed: int) -> None:
    """Targets, and masks of any weights with a third of the places left out."""
    rng = np.random.default_rng(seed)
    for name in net.inputs:
        values = rng.standard_normal(net.blobs[name].shape).astype(np.float32)
        if name.startswith("mask"):
            values = np.maximum(np.abs(values) - 0.4, 0)
        net.blobs[name].data[...] = net.backend.asarray(values, np.float32)


def pairs_of(text: str, backend: Backend) -> Iterator[tuple[Net, Net]]:
    """The compiled net and the reference, with new inputs each time."""
    net = net_of(text, backend)
    reference = net_of(text, NumpyBackend())
    for seed in (1, 2, 3):
        for each in (net, reference):
            write_inputs(each, seed)
        yield net, reference
    assert not program_of(net).run.foreign


@pytest.mark.parametrize("precision", TOLERANCE)
def test_losses_and_gradient_are_those_of_the_reference(precision: str, engine: Engine) -> None:
    loss_error, gradient_error = TOLERANCE[precision]
    for net, reference in pairs_of(NET, engine(precision)):
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=loss_error)
        expected = pytest.approx(reference.loss_terms(), rel=3 * loss_error)
        assert net.loss_terms() == expected
        assert error(gradient(net), gradient(reference)) < gradient_error


def test_an_empty_region_weighs_nothing(engine: Engine) -> None:
    for net, reference in pairs_of(NET, engine()):
        for each in (net, reference):
            each.blobs["mask2"].data[...] = 0
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=2e-6)
        assert error(gradient(net), gradient(reference)) < 5e-6


def test_a_mask_below_zero_is_refused_by_name(engine: Engine) -> None:
    net = net_of(NET, engine())
    write_inputs(net, 1)
    net.blobs["mask2"].data[0, 0, 3, 4] = -2
    with pytest.raises(NetError, match=r"layer 's_c2_mask2': a mask has no values below 0 .got -2"):
        net.forward_backward()


@pytest.mark.parametrize(
    "text",
    [
        NET.replace("normalize: CHW alpha: 3", "normalize: HW disable_scaling_on_gradient: true"),
        NET.replace('bottom: "mask3" top: "mt"', 'bottom: "kept3" top: "mt"').replace(
            'layer { name: "mt"',
            'layer { name: "kept3" type: "Power" bottom: "mask3" top: "kept3" power_param { power: 2 } }'
            'layer { name: "mt"',
        ),
    ],
    ids=["a scale that the mask knows", "a mask that the net computes"],
)
def test_what_is_not_compiled_is_the_layers(text: str, engine: Engine) -> None:
    net, reference = net_of(text, engine()), net_of(text, NumpyBackend())
    for each in (net, reference):
        write_inputs(each, 1)
    for _ in range(3):
        assert net.forward_backward() == pytest.approx(reference.forward_backward(), rel=2e-6)
    assert error(gradient(net), gradient(reference)) < 5e-6
    assert program_of(net).run.foreign
