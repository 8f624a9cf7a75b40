"""Pictures to blobs and back, on colours that tell every channel order apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nst.errors import ImageError, ShapeError, UsageError
from nst.io.picture_transform import PictureTransform, to_uint8

RED, GREEN, BLUE = 10, 20, 30
ONE_PIXEL = np.array([[[RED, GREEN, BLUE]]], np.uint8)


def test_bgr_puts_blue_first_and_subtracts_the_mean_of_blue_from_it() -> None:
    blob = PictureTransform(mean=(1, 2, 3)).encode(ONE_PIXEL)
    assert blob[0, :, 0, 0].tolist() == [BLUE - 1, GREEN - 2, RED - 3]


def test_rgb_keeps_red_first() -> None:
    blob = PictureTransform(mean=(1, 2, 3), color_order="RGB").encode(ONE_PIXEL)
    assert blob[0, :, 0, 0].tolist() == [RED - 1, GREEN - 2, BLUE - 3]


def test_scale_multiplies_after_the_mean_is_subtracted() -> None:
    blob = PictureTransform(mean=(2, 2, 2), scale=0.5).encode(ONE_PIXEL)
    assert blob[0, :, 0, 0].tolist() == [(BLUE - 2) / 2, (GREEN - 2) / 2, (RED - 2) / 2]


def test_rows_stay_rows_and_columns_stay_columns() -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    blob = PictureTransform(mean=(0, 0, 0)).encode(picture)
    assert blob.shape == (1, 3, 2, 3)
    assert blob[0, 2, 1, 2] == picture[1, 2, 0]


def test_a_blob_is_contiguous_float32() -> None:
    blob = PictureTransform().encode(ONE_PIXEL)
    assert blob.dtype == np.float32
    assert blob.flags.c_contiguous


@given(
    hnp.arrays(
        np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=5).map(lambda s: (*s, 3))
    ),
    st.sampled_from(["BGR", "RGB"]),
    st.floats(1e-3, 1e3),
)
def test_decode_is_the_exact_inverse_for_every_byte(
    picture: np.ndarray, order: str, scale: float
) -> None:
    transform = PictureTransform(color_order=order, scale=scale)
    assert np.array_equal(to_uint8(transform.decode(transform.encode(picture))), picture)


def test_decode_neither_rounds_nor_clips() -> None:
    blob = np.array([-1.25, 0.5, 300.0], np.float32).reshape(1, 3, 1, 1)
    picture = PictureTransform(mean=(0, 0, 0)).decode(blob)
    assert picture[0, 0].tolist() == [300.0, 0.5, -1.25]


def test_bytes_are_rounded_not_truncated_and_clipped() -> None:
    assert to_uint8(np.array([-3.0, 0.6, 99.4, 99.6, 254.7, 300.0])).tolist() == [
        0,
        1,
        99,
        100,
        255,
        255,
    ]


def test_nan_does_not_become_a_colour() -> None:
    with pytest.raises(ImageError, match="2 values are not numbers"):
        to_uint8(np.array([np.nan, 1.0, np.nan]))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (1, 3, 4, 4)])
def test_what_is_not_an_rgb_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="not RGB"):
        PictureTransform().encode(np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 3, 4, 4), (1, 1, 4, 4)])
def test_a_blob_that_is_not_one_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="not one picture"):
        PictureTransform().decode(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "options",
    [
        {"mean": (1.0, 2.0)},
        {"mean": (1.0, 2.0, float("nan"))},
        {"color_order": "GBR"},
        {"scale": 0.0},
        {"scale": float("inf")},
    ],
)
def test_a_transform_without_an_inverse_cannot_be_made(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        PictureTransform(**options)  # type: ignore[arg-type]
