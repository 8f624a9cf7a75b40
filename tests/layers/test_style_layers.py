"""Gram, TVLoss, Parameter, Input, Split, EuclideanLoss: what style transfer stands on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gradient_cases import normal
from support.layer_rig import LayerRig, write
from support.oracles import naive_gram

from nst.backend import Backend, get_backend
from nst.errors import NetError, ShapeError

REFERENCE = get_backend("numpy")


def test_gram_of_known_maps(backend: Backend) -> None:
    x = np.arange(120).reshape(2, 3, 4, 5) / 100  # MyCaffe's GramLayer test

    (y,) = LayerRig(backend, 'type: "Gram"', [x]).forward()

    known = [
        [0.247, 0.627, 1.007, 0.627, 1.807, 2.987, 1.007, 2.987, 4.967],
        [9.727, 12.507, 15.287, 12.507, 16.087, 19.667, 15.287, 19.667, 24.047],
    ]
    assert y.shape == (2, 3, 3)
    np.testing.assert_allclose(y.reshape(2, 9), known, atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 5))
def test_gram_is_symmetric_positive_and_blind_to_the_order_of_places(
    seed: int, channels: int, places: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1, channels, places, 2))
    shuffled = x.reshape(1, channels, -1)[:, :, rng.permutation(places * 2)].reshape(x.shape)

    (y,) = LayerRig(REFERENCE, 'type: "Gram"', [x]).forward()
    (z,) = LayerRig(REFERENCE, 'type: "Gram"', [shuffled]).forward()

    np.testing.assert_array_equal(y, y.transpose(0, 2, 1))
    np.testing.assert_allclose(y, naive_gram(x), atol=1e-12)
    np.testing.assert_allclose(y, z, atol=1e-12)
    assert np.linalg.eigvalsh(y[0]).min() > -1e-9


@pytest.mark.parametrize(
    ("fields", "factor"),
    [("alpha: 0.5 beta: 4", 2), ("normalize: HW", 1 / 20), ("normalize: CHW alpha: 2", 2 / 60)],
)
def test_gram_scales_by_its_parameters(fields: str, factor: float, backend: Backend) -> None:
    x = normal(1, 3, 4, 5)

    (y,) = LayerRig(backend, f'type: "Gram" gram_param {{ {fields} }}', [x]).forward()

    np.testing.assert_allclose(y, factor * naive_gram(x))


@pytest.mark.parametrize(
    ("fields", "wording"),
    [("alpha: 0", "alpha and beta must be positive"), ("axis: 0", "leaves no channel axis")],
)
def test_gram_refuses_what_makes_no_sense(fields: str, wording: str, backend: Backend) -> None:
    with pytest.raises(NetError, match=f"layer 'layer': .*{wording}"):
        LayerRig(backend, f'type: "Gram" gram_param {{ {fields} }}', [normal(1, 2, 3)])


def test_total_variation_of_a_ramp(backend: Backend) -> None:
    x = np.arange(120).reshape(1, 3, 4, 10) / 10  # MyCaffe's TVLossLayer test

    (loss,) = LayerRig(backend, 'type: "TVLoss" tv_loss_param { beta: 2.5 }', [x]).forward()

    assert loss == pytest.approx(81 * 1.01**1.25)


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0, 3.0])
def test_a_flat_picture_has_no_variation_and_no_gradient(beta: float, backend: Backend) -> None:
    rig = LayerRig(
        backend, f'type: "TVLoss" tv_loss_param {{ beta: {beta} }}', [np.full((1, 2, 3, 4), 5.0)]
    )

    assert rig.forward()[0] == 0
    np.testing.assert_array_equal(rig.backward([1.0])[0], 0)


def test_a_second_backward_of_total_variation_gives_the_same_gradient(backend: Backend) -> None:
    """MyCaffe adds to what the diff held before."""
    rig = LayerRig(backend, 'type: "TVLoss"', [normal(1, 1, 4, 4)])
    rig.forward()

    np.testing.assert_array_equal(rig.backward([0.5])[0], rig.backward([0.5])[0])


@pytest.mark.parametrize("fields", ["beta: 0", "epsilon: -1"])
def test_total_variation_refuses_a_bad_exponent(fields: str, backend: Backend) -> None:
    with pytest.raises(NetError, match="beta must be positive and epsilon not negative"):
        LayerRig(backend, f'type: "TVLoss" tv_loss_param {{ {fields} }}', [normal(1, 1, 3, 3)])


def test_parameter_is_its_top(backend: Backend) -> None:
    text = 'type: "Parameter" parameter_param { shape { dim: 2 dim: 3 } }'
    rig = LayerRig(backend, text)
    write(rig.params[0], "data", [[1.0, 2, 3], [4, 5, 6]])

    np.testing.assert_array_equal(rig.forward()[0], [[1, 2, 3], [4, 5, 6]])
    write(rig.top[0], "diff", 7)
    np.testing.assert_array_equal(rig.params[0].diff_to_host(), 7)


def test_parameter_can_be_filled(backend: Backend) -> None:
    rig = LayerRig(
        backend,
        'type: "Parameter" parameter_param { shape { dim: 2 } '
        'filler { type: "constant" value: 3 } }',
    )

    np.testing.assert_array_equal(rig.forward()[0], [3, 3])


def test_input_shapes_its_tops_and_then_leaves_them_to_the_user(backend: Backend) -> None:
    text = 'type: "Input" input_param { shape { dim: 2 dim: 3 } }'
    rig = LayerRig(backend, text, tops=2)
    rig.top[0].reshape(5)

    assert [y.shape for y in rig.forward()] == [(5,), (2, 3)]


@pytest.mark.parametrize(
    ("shapes", "wording"),
    [
        ("shape { dim: 1 } shape { dim: 1 }", "Must specify 'shape' once, once per top"),
        ("shape { dim: -1 }", "negative size"),
    ],
)
def test_input_refuses_shapes_that_do_not_fit(shapes: str, wording: str, backend: Backend) -> None:
    with pytest.raises(NetError, match=f"layer 'layer': {wording}"):
        LayerRig(backend, f'type: "Input" input_param {{ {shapes} }}', tops=3)


def test_split_shares_its_values(backend: Backend) -> None:
    rig = LayerRig(backend, 'type: "Split"', [[1.0, 2]], tops=2)
    rig.forward()

    write(rig.bottom[0], "data", 9)
    np.testing.assert_array_equal(rig.top[1].to_host(), 9)


def test_euclidean_loss_is_antisymmetric_and_averages_over_the_batch(backend: Backend) -> None:
    a, b = normal(4, 3), normal(4, 3, seed=1)
    rig = LayerRig(backend, 'type: "EuclideanLoss"', [a, b])

    (loss,) = rig.forward()
    da, db = rig.backward([3.7])

    assert loss == pytest.approx(((a - b) ** 2).sum() / 8)
    np.testing.assert_allclose(da, 3.7 / 4 * (a - b))
    np.testing.assert_array_equal(da, -db)


@pytest.mark.parametrize(
    ("shapes", "wording"),
    [
        (((2, 3), (3, 3)), "should have the same first dimension"),
        (((2, 3), (2, 4)), r"Inputs must have the same dimension.*\(2, 3\) and \(2, 4\)"),
    ],
)
def test_euclidean_loss_refuses_different_counts(
    shapes: tuple[tuple[int, ...], ...], wording: str, backend: Backend
) -> None:
    with pytest.raises(ShapeError, match=f"layer 'layer': .*{wording}"):
        LayerRig(backend, 'type: "EuclideanLoss"', [normal(*shape) for shape in shapes])
