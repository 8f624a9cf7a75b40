"""Resizing, against closed forms and against the arithmetic of averages."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst.errors import ShapeError, UsageError
from nst.io.resample import FILTERS, fit_longest_side, resize

SIDES = st.integers(1, 5000)


@pytest.mark.parametrize("method", FILTERS)
def test_one_colour_stays_that_colour_at_every_size(method: str) -> None:
    picture = np.tile(np.array([10.25, 20.5, 30.75], np.float32), (7, 5, 1))
    resized = resize(picture, (11, 3), method=method)
    assert resized.shape == (11, 3, 3)
    np.testing.assert_allclose(resized, np.broadcast_to(picture[0, 0], (11, 3, 3)), rtol=1e-6)


def test_area_halves_by_averaging_without_rounding() -> None:
    picture = np.array([[0, 1], [1, 1]], np.float32)
    assert resize(picture, (1, 1), method="area") == 0.75


@pytest.mark.parametrize("method", ["lanczos", "bicubic", "bilinear", "area"])
def test_shrinking_averages_fine_texture_instead_of_aliasing_it(method: str) -> None:
    checker = np.indices((64, 64)).sum(axis=0) % 2 * np.float32(255)
    inner = resize(checker, (16, 16), method=method)[2:-2, 2:-2]
    np.testing.assert_allclose(inner, 127.5, atol=2)


def test_height_comes_before_width() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (4, 1))
    resized = resize(ramp, (2, 4), method="area")
    np.testing.assert_array_equal(resized, [[0.5, 2.5, 4.5, 6.5]] * 2)


def test_channels_do_not_mix() -> None:
    picture = np.zeros((6, 6, 3), np.float32)
    picture[:, :, 1] = 200
    resized = resize(picture, (3, 3))
    assert not resized[:, :, [0, 2]].any()


def test_the_same_size_comes_back_unchanged_as_a_copy() -> None:
    picture = np.random.default_rng(1).random((5, 4, 3), np.float32)
    resized = resize(picture, (5, 4))
    assert np.array_equal(resized, picture)
    assert not np.shares_memory(resized, picture)


def test_overshoot_of_lanczos_is_held_within_the_limits() -> None:
    edge = np.repeat(np.array([[0.0, 255.0]], np.float32), 8, axis=1)
    resized = resize(edge, (1, 64))
    assert (resized.min(), resized.max()) == (0, 255)


def test_limits_of_none_let_an_unfinished_iterate_through() -> None:
    iterate = np.full((4, 4), 400, np.float32)
    assert resize(iterate, (2, 2), limits=None).max() > 399


def test_linear_light_keeps_the_light_of_black_and_white_texture() -> None:
    checker = np.indices((64, 64)).sum(axis=0) % 2 * np.float32(255)
    inner = resize(checker, (16, 16), method="area", linear_light=True)
    # Half the light of white is sRGB 187.5: 255 * (1.055 * 0.5 ** (1 / 2.4) - 0.055).
    np.testing.assert_allclose(inner, 187.516, atol=0.01)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=30))
def test_the_curve_of_linear_light_has_an_exact_inverse(levels: list[int]) -> None:
    picture = np.tile(np.array(levels, np.float32), (1, 1))
    doubled = resize(picture, (2, len(levels)), method="nearest", linear_light=True)
    np.testing.assert_allclose(doubled[0], levels, atol=1e-3)


def test_an_unknown_method_is_named_with_the_nearest_known() -> None:
    with pytest.raises(UsageError, match="Did you mean 'lanczos'"):
        resize(np.zeros((2, 2)), (1, 1), method="lanczoz")


def test_a_size_without_pixels_is_refused() -> None:
    with pytest.raises(ShapeError, match="no pixels"):
        resize(np.zeros((2, 2)), (0, 1))


@given(SIDES, SIDES, SIDES)
def test_fitted_sides_are_the_exact_quotients_rounded(height: int, width: int, size: int) -> None:
    factor = Fraction(size, max(height, width))
    fitted = fit_longest_side((height, width), size, enlarge=True)
    assert max(fitted) == size
    assert min(fitted) >= 1
    for side, original in zip(fitted, (height, width), strict=True):
        assert side == 1 or abs(side - original * factor) <= Fraction(1, 2)


@given(SIDES, SIDES, SIDES)
def test_fitting_never_enlarges_unless_asked(height: int, width: int, size: int) -> None:
    fitted = fit_longest_side((height, width), size)
    assert fitted[0] <= height
    assert fitted[1] <= width


def test_a_portrait_is_bounded_by_its_height() -> None:
    assert fit_longest_side((1000, 600), 840) == (840, 504)


def test_a_hair_thin_picture_keeps_one_pixel() -> None:
    assert fit_longest_side((1, 4000), 100) == (1, 100)


def test_halves_are_rounded_up() -> None:
    assert fit_longest_side((3, 4), 2) == (2, 2)


def test_a_size_below_one_pixel_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1 pixel"):
        fit_longest_side((4, 4), 0)
