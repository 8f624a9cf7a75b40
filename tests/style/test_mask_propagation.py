"""Masks at the taps: block means, borders, and the centres of receptive fields measured on the net itself."""

from __future__ import annotations

import numpy as np
import pytest

from nst.backend import get_backend
from nst.core import RandomSource
from nst.errors import UsageError
from nst.io.prototxt import parse_net
from nst.net import Net
from nst.style.mask_propagation import masks_at

DATA = (
    'layer {{ name: "d" type: "Input" top: "data" '
    "input_param {{ shape {{ dim: [1, 1, {}, {}] }} }} }}"
)


def net_of(text: str, height: int, width: int) -> Net:
    return Net(
        parse_net(DATA.format(height, width) + text),
        backend=get_backend("numpy"),
        dtype=np.float64,
        rng=RandomSource(0),
    )


def layer(kind: str, bottom: str, top: str, settings: str) -> str:
    field = {"Convolution": "convolution_param { num_output: 1", "Pooling": "pooling_param {"}
    body = f"{field[kind]} {settings} }}" if kind in field else settings
    return f'layer {{ name: "{top}" type: "{kind}" bottom: "{bottom}" top: "{top}" {body} }}'


def test_a_pooling_of_two_gives_the_means_of_blocks(rng: np.random.Generator) -> None:
    net = net_of(layer("Pooling", "data", "y", "kernel_size: 2 stride: 2"), 6, 8)
    masks = rng.uniform(size=(3, 6, 8))

    y = masks_at(net, "data", masks, ["y"])["y"]

    np.testing.assert_allclose(y, masks.reshape(3, 3, 2, 4, 2).mean(axis=(2, 4)), rtol=1e-12)


def test_a_pooling_that_rounds_up_ends_in_what_is_left(rng: np.random.Generator) -> None:
    net = net_of(layer("Pooling", "data", "y", "kernel_size: 2 stride: 2"), 2, 5)
    mask = rng.uniform(size=(1, 2, 5))

    y = masks_at(net, "data", mask, ["y"])["y"]

    assert y.shape == (1, 1, 3)
    assert y[0, 0, 2] == pytest.approx(mask[0, :, 4].mean())


def test_a_convolution_without_padding_begins_inside() -> None:
    """Kernel 7, stride 2: the first window is centred at pixel 3, its cell goes from 2.5 to 4.5."""
    net = net_of(layer("Convolution", "data", "y", "kernel_size: 7 stride: 2"), 7, 11)
    columns = np.tile(10.0 ** np.arange(11), (1, 7, 1))

    y = masks_at(net, "data", columns, ["y"])["y"]

    assert y[0, 0, 0] == pytest.approx((0.5 * 1e2 + 1e3 + 0.5 * 1e4) / 2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("kernel_size: 3 pad: 1", "kernel_size: 2 stride: 2"),
        ("kernel_size: 7 stride: 2", "kernel_size: 3 stride: 2"),
        ("kernel_size: 3 pad: 2 dilation: 2", "kernel_size: 3 stride: 2 pad: 1"),
        ("kernel_size: 4 stride: 3", "kernel_size: 2 stride: 1"),
    ],
)
def test_the_cells_lie_around_the_centres_of_the_receptive_fields(first: str, second: str) -> None:
    """A mask that says where each column is gives the middle of what a place sees, by its gradients."""
    text = layer(
        "Convolution", "data", "a", f"{first} weight_filler {{ type: 'constant' value: 1 }}"
    )
    text += layer("Pooling", "a", "b", f"pool: AVE {second}")
    net = net_of("force_backward: true " + text, 24, 27)
    net.forward_from_to()
    y, dx = net.blobs["b"], net.blobs["data"]
    columns = np.tile(np.arange(27) + 0.5, (1, 24, 1))

    found = masks_at(net, "data", columns, ["b"])["b"]

    for w in range(2, y.shape[3] - 2):  # at the edges, fields are cut and no longer centred
        y.diff[...] = 0
        y.diff[0, 0, 3, w] = 1
        net.backward_from_to()
        pull = dx.diff[0, 0].sum(axis=0)
        assert found[0, 3, w] == pytest.approx((pull @ columns[0, 0]) / pull.sum(), abs=1e-9)


def test_masks_that_sum_to_one_do_so_everywhere(rng: np.random.Generator) -> None:
    text = (
        layer("Pad", "data", "p", "pad_param { pad_h: 3 pad_w: 3 }")
        + layer("Convolution", "p", "a", "kernel_size: 7 stride: 2")
        + layer("ReLU", "a", "a", "")
        + layer("Pooling", "a", "b", "kernel_size: 3 stride: 2")
        + layer("Convolution", "b", "c1", "kernel_size: 1")
        + layer("Convolution", "b", "c3", "kernel_size: 3 pad: 1")
        + 'layer { name: "c" type: "Concat" bottom: "c1" bottom: "c3" top: "c" }'
    )
    net = net_of(text, 31, 26)
    masks = rng.dirichlet([0.3] * 3, size=(31, 26)).transpose(2, 0, 1)

    for tap, found in masks_at(net, "data", masks, ["a", "b", "c1", "c"]).items():
        assert found.shape[1:] == net.blobs[tap].shape[2:]
        assert found.min() >= 0
        np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-12)


def test_a_border_beyond_the_cells_counts_as_the_nearest_pixels() -> None:
    net = net_of(layer("Convolution", "data", "y", "kernel_size: 1 pad: 2"), 3, 3)
    mask = np.arange(9.0).reshape(1, 3, 3)

    y = masks_at(net, "data", mask, ["y"])["y"]

    np.testing.assert_array_equal(y[0], np.pad(mask[0], 2, "edge"))


def test_a_margin_of_places_is_left_out() -> None:
    net = net_of(layer("Trim", "data", "y", "trim_param { margin: 2 }"), 7, 4)
    mask = np.arange(28.0).reshape(1, 7, 4)

    y = masks_at(net, "data", mask, ["y"])["y"]

    np.testing.assert_array_equal(y[0], mask[0, 2:5, 1:3])
    assert y.shape[1:] == net.blobs["y"].shape[2:]


def test_places_that_are_lost_are_refused() -> None:
    net = net_of(layer("InnerProduct", "data", "fc", "inner_product_param { num_output: 2 }"), 4, 4)

    with pytest.raises(UsageError, match="layer 'fc': a mask cannot be followed there"):
        masks_at(net, "data", np.ones((1, 4, 4)), ["fc"])
