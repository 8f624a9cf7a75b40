"""WassersteinLoss against closed forms and scipy's matrix root, down to covariances without full rank."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from support.gradient_cases import raw_moments
from support.layer_rig import LayerRig

from nst.backend import Backend, get_backend
from nst.errors import NetError, ShapeError


def distance(
    backend: Backend, y: np.ndarray, target: np.ndarray, settings: str = "epsilon: 0"
) -> float:
    text = f'type: "WassersteinLoss" wasserstein_loss_param {{ {settings} }}'
    return float(LayerRig(backend, text, [y, target]).forward()[0])


def moments(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    return np.concatenate([mean[:, None], covariance + np.outer(mean, mean)], axis=1)[None]


def test_of_diagonal_covariances_it_is_the_distance_of_means_and_deviations(
    backend: Backend, rng: np.random.Generator
) -> None:
    means, deviations = rng.normal(size=(2, 5)), rng.uniform(0.2, 3, size=(2, 5))
    y, target = (moments(m, np.diag(s**2)) for m, s in zip(means, deviations, strict=True))

    expected = ((means[0] - means[1]) ** 2).sum() + ((deviations[0] - deviations[1]) ** 2).sum()

    assert distance(backend, y, target) == pytest.approx(expected, rel=1e-10)


def test_of_full_covariances_it_agrees_with_the_matrix_root_of_scipy(
    backend: Backend, rng: np.random.Generator
) -> None:
    a, b = rng.normal(size=(2, 4, 4))
    s, t = a @ a.T, b @ b.T
    m, n = rng.normal(size=(2, 4))

    cross = scipy.linalg.sqrtm(s @ t).real.trace()
    expected = ((m - n) ** 2).sum() + np.trace(s + t) - 2 * cross

    assert distance(backend, moments(m, s), moments(n, t)) == pytest.approx(expected, rel=1e-8)


@given(
    channels=st.integers(1, 6),
    places=st.integers(1, 12),
    seed=st.integers(0, 99),
    scale=st.floats(1e-3, 1e3),
)
def test_of_equal_moments_it_is_zero_whatever_their_rank(
    channels: int, places: int, seed: int, scale: float
) -> None:
    features = scale * np.random.default_rng(seed).normal(size=(1, channels, places))
    y = raw_moments(features)

    found = distance(get_backend("numpy"), y, y, "relative: true")

    assert found == pytest.approx(0, abs=1e-9)


@given(channels=st.integers(1, 5), places=st.integers(1, 9), seed=st.integers(0, 99))
def test_it_is_symmetric_and_never_negative(channels: int, places: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, target = (raw_moments(rng.normal(size=(1, channels, places + 3))) for _ in range(2))

    there = distance(get_backend("numpy"), y, target, "epsilon: 1e-9")
    back = distance(get_backend("numpy"), target, y, "epsilon: 1e-9")

    assert there >= -1e-9
    assert there == pytest.approx(back, rel=1e-4, abs=1e-6)


def test_relative_distances_do_not_depend_on_the_unit(
    backend: Backend, rng: np.random.Generator
) -> None:
    f, t = rng.normal(size=(2, 1, 4, 30))

    small = distance(backend, raw_moments(f), raw_moments(t), "relative: true")
    large = distance(backend, raw_moments(50 * f), raw_moments(50 * t), "relative: true")

    assert large == pytest.approx(small, rel=1e-9)


def test_the_distance_to_no_features_at_all_is_the_mean_square(
    backend: Backend, rng: np.random.Generator
) -> None:
    f = rng.normal(size=(1, 3, 20))
    target = raw_moments(f)

    gone = distance(backend, np.zeros_like(target), target, "epsilon: 1e-12 relative: true")

    assert gone == pytest.approx(1, rel=1e-4)


def test_a_new_target_is_noticed(backend: Backend, rng: np.random.Generator) -> None:
    y, one, two = (raw_moments(rng.normal(size=(1, 3, 9))) for _ in range(3))
    rig = LayerRig(backend, 'type: "WassersteinLoss"', [y, one])
    first = rig.forward()[0]

    rig.bottom[1].data[...] = backend.asarray(two, np.float64)
    second = rig.forward()[0]

    fresh = LayerRig(backend, 'type: "WassersteinLoss"', [y, two]).forward()[0]
    assert second == pytest.approx(fresh, rel=1e-12)
    assert second != first


def test_a_target_without_any_variance_has_a_distance_and_a_gradient(backend: Backend) -> None:
    y = raw_moments(np.arange(6.0).reshape(1, 2, 3))
    rig = LayerRig(backend, 'type: "WassersteinLoss"', [y, np.zeros_like(y)])

    found = rig.forward()[0]
    gradient = rig.backward([1.0], [True, False])[0]

    assert found == pytest.approx(y[0, :, 1:].trace())
    assert np.isfinite(gradient).all()


def test_moments_that_are_not_finite_have_no_distance(backend: Backend) -> None:
    """A run that diverges is to be told of it, not to end in LAPACK."""
    y = np.full((1, 3, 4), np.nan)
    rig = LayerRig(backend, 'type: "WassersteinLoss"', [y, moments(np.ones(3), np.eye(3))])

    assert np.isnan(rig.forward()[0])
    assert np.isnan(rig.backward([1.0], [True, False])[0]).all()


def test_moments_of_another_shape_are_refused(backend: Backend) -> None:
    with pytest.raises(ShapeError, match=r"must have one shape \(N, C, 4\)"):
        distance(backend, np.zeros((1, 3, 4)), np.zeros((1, 3, 2)))


def test_a_negative_epsilon_is_refused(backend: Backend) -> None:
    with pytest.raises(NetError, match="epsilon must be finite and not negative"):
        distance(backend, np.zeros((1, 3, 4)), np.zeros((1, 3, 4)), "epsilon: -1")


def test_the_target_receives_no_gradient(backend: Backend) -> None:
    y = raw_moments(np.arange(6.0).reshape(1, 2, 3))
    rig = LayerRig(backend, 'type: "WassersteinLoss"', [y, y])
    rig.forward()

    with pytest.raises(NetError, match="cannot backpropagate to target"):
        rig.backward([1.0])
