"""Moments against plain means, and the identities that make them statistics of style."""

from __future__ import annotations

import numpy as np
import pytest
from support.layer_rig import LayerRig

from nst.backend import Backend
from nst.errors import NetError, ShapeError


def of(backend: Backend, settings: str, features: np.ndarray) -> np.ndarray:
    return LayerRig(
        backend, f'type: "Moments" moments_param {{ {settings} }}', [features]
    ).forward()[0]


def test_the_first_column_is_the_mean_and_the_rest_the_second_moments(
    backend: Backend, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(2, 3, 4, 5))

    y = of(backend, "mean_scale: 3", x)

    rows = x.reshape(2, 3, 20)
    np.testing.assert_allclose(y[:, :, 0], 3 * rows.mean(axis=2), rtol=1e-12)
    for n in range(2):
        np.testing.assert_allclose(y[n, :, 1:], rows[n] @ rows[n].T / 20, rtol=1e-12)


def test_the_diagonal_form_holds_the_mean_squares(
    backend: Backend, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(2, 3, 4, 5))

    y = of(backend, "second: DIAGONAL", x)

    assert y.shape == (2, 3, 2)
    np.testing.assert_allclose(y[:, :, 1], (x**2).mean(axis=(2, 3)), rtol=1e-12)


def test_the_moments_of_two_pictures_side_by_side_are_the_mean_of_their_moments(
    backend: Backend, rng: np.random.Generator
) -> None:
    a, b = rng.normal(size=(2, 1, 3, 4, 5))

    both = of(backend, "", np.concatenate([a, b], axis=3))

    np.testing.assert_allclose(both, (of(backend, "", a) + of(backend, "", b)) / 2, rtol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_with_the_euclidean_loss_they_give_the_polynomial_mmd(
    offset: float, backend: Backend, rng: np.random.Generator
) -> None:
    f, t = rng.normal(size=(1, 3, 7)), rng.normal(size=(1, 3, 5))
    settings = f"mean_scale: {np.sqrt(2 * offset)}"
    kernel = f'type: "MMDLoss" mmd_loss_param {{ kernel: POLYNOMIAL offset: {offset} }}'

    pair = [of(backend, settings, f), of(backend, settings, t)]
    euclidean = LayerRig(backend, 'type: "EuclideanLoss"', pair).forward()[0]
    mmd = LayerRig(backend, kernel, [f, t]).forward()[0]

    assert 2 * euclidean == pytest.approx(mmd, rel=1e-12)


def test_an_axis_without_channels_before_it_is_refused(backend: Backend) -> None:
    with pytest.raises(ShapeError, match="axis 0 leaves no channel axis"):
        of(backend, "axis: 0", np.zeros((2, 3)))


def test_a_scale_that_is_not_finite_is_refused(backend: Backend) -> None:
    with pytest.raises(NetError, match="mean_scale must be finite"):
        of(backend, "mean_scale: inf", np.zeros((1, 2, 3)))
