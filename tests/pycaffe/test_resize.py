"""resize_image against the recorded numbers, SciPy, and what any resampling must keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nst.errors import ShapeError, UsageError
from nst.pycaffe.io import resize_image

RECORD = np.load(Path(__file__).resolve().parent.parent / "data/pyapi/io.npz")
SIZES = [((20, 30), (16, 12)), ((9, 7), (23, 31)), ((30, 11), (10, 40)), ((40, 3), (7, 3))]


@pytest.mark.parametrize(
    ("picture", "order", "expected"),
    [
        (RECORD["img"], 1, RECORD["resize_16x12"]),
        (RECORD["img"], 0, RECORD["resize_order0"]),
        (RECORD["img"][:, :, :1], 1, RECORD["resize_gray"]),
        (RECORD["img4"], 1, RECORD["resize_4ch"]),
        (np.full((20, 30, 3), 0.25, np.float32), 1, RECORD["resize_const"]),
    ],
    ids=["linear", "nearest", "grey", "four channels", "constant"],
)
def test_the_recorded_pictures_come_out(
    picture: NDArray[Any], order: int, expected: NDArray[Any]
) -> None:
    resized = resize_image(picture, (16, 12), order)

    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("order", range(6))
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_many_channels_are_zoomed_as_by_scipy(
    rng: np.random.Generator, old: tuple[int, int], new: tuple[int, int], order: int
) -> None:
    ndimage = pytest.importorskip("scipy.ndimage", reason="needs SciPy, a development-only oracle")
    picture = rng.standard_normal((*old, 5))
    zoom = (new[0] / old[0], new[1] / old[1], 1)

    np.testing.assert_allclose(
        resize_image(picture, new, order), ndimage.zoom(picture, zoom, order=order), atol=1e-6
    )


@pytest.mark.parametrize("order", range(6))
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_colour_pictures_are_smoothed_and_sampled_as_by_scikit_image(
    rng: np.random.Generator, old: tuple[int, int], new: tuple[int, int], order: int
) -> None:
    """scikit-image's `resize` is a Gaussian filter and a zoom between pixel areas, both SciPy's."""
    ndimage = pytest.importorskip("scipy.ndimage", reason="needs SciPy, a development-only oracle")
    picture = rng.random((*old, 3))
    picture[0, 0, 0], picture[-1, -1, -1] = 0, 1  # so that 0..1 is the picture's own range
    factors = np.array([old[0] / new[0], old[1] / new[1], 1])
    smooth = ndimage.gaussian_filter(picture, np.maximum(0, (factors - 1) / 2), mode="constant")
    expected = ndimage.zoom(smooth, 1 / factors, order=order, mode="grid-constant", grid_mode=True)

    np.testing.assert_allclose(
        resize_image(picture, new, order), np.clip(expected, 0, 1), atol=1e-6
    )


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 5),
)
def test_no_value_leaves_the_range_of_the_picture(
    height: int, width: int, new_height: int, new_width: int, order: int
) -> None:
    picture = np.random.default_rng(height * 13 + width).standard_normal((height, width, 3))

    resized = resize_image(picture, (new_height, new_width), order)

    assert resized.shape == (new_height, new_width, 3)
    assert resized.min() >= picture.min() - 1e-6
    assert resized.max() <= picture.max() + 1e-6


@pytest.mark.parametrize("shape", [(5, 6), (0, 6, 3), (2, 5, 6, 3)])
def test_what_is_no_picture_is_refused_with_its_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"expected \(H, W, C\)"):
        resize_image(np.zeros(shape), (4, 4))


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(UsageError, match=r"got 7, expected 0 to 5"):
        resize_image(np.zeros((3, 3, 3)), (4, 4), 7)
