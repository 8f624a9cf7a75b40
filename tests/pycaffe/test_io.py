"""caffe.io: pictures, crops, BlobProto and Datum, against recorded bytes and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nst.errors import ImageError, ShapeError, UsageError
from nst.proto import BlobProto, Datum
from nst.pycaffe import io

DATA = Path(__file__).resolve().parent.parent / "data/pyapi"
RECORD = np.load(DATA / "io.npz")


def test_a_picture_is_read_as_rgb_from_0_to_1(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (255, 51, 0)).save(tmp_path / "a.png")

    picture = io.load_image(tmp_path / "a.png")

    assert (picture.shape, picture.dtype) == ((2, 3, 3), np.float32)
    np.testing.assert_allclose(picture[0, 0], [1, 0.2, 0])


def test_without_colour_a_picture_is_its_luminance(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (255, 0, 0)).save(tmp_path / "a.png")

    picture = io.load_image(str(tmp_path / "a.png"), color=False)

    np.testing.assert_allclose(picture, np.full((2, 3, 1), 0.2125))


def test_a_missing_picture_is_named() -> None:
    with pytest.raises(ImageError, match=r"nowhere\.png: no such file"):
        io.load_image("nowhere.png")


def test_ten_crops_come_as_recorded() -> None:
    np.testing.assert_array_equal(io.oversample([RECORD["img"]], (16, 12)), RECORD["oversample"])


def test_the_ten_crops_of_each_picture_lie_together() -> None:
    pictures = [np.full((5, 6, 3), value, np.float32) for value in (1, 2)]

    crops = io.oversample(pictures, np.array([4, 4]))

    assert crops.shape == (20, 4, 4, 3)
    assert crops[:, 0, 0, 0].tolist() == [1] * 10 + [2] * 10


@pytest.mark.parametrize("shapes", [[(3, 9, 3)], [(9, 9, 3), (9, 8, 3)]])
def test_crops_that_do_not_fit_every_picture_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ShapeError, match=r"expected one shape of at least \(4, 4\)"):
        io.oversample([np.zeros(shape) for shape in shapes], (4, 4))


def test_crops_of_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="no pictures"):
        io.oversample([], (4, 4))


def test_a_blob_is_written_in_caffes_bytes_and_read_back() -> None:
    recorded = (DATA / "blob.binaryproto").read_bytes()

    assert io.array_to_blobproto(RECORD["blob"]).SerializeToString() == recorded
    back = io.blobproto_to_array(BlobProto.FromString(recorded))
    assert back.dtype == RECORD["blob_back"].dtype
    np.testing.assert_array_equal(back, RECORD["blob_back"])


def test_a_blob_keeps_its_gradient() -> None:
    values, diff = np.ones((2, 3)), np.full((2, 3), 4.0)

    blob = io.array_to_blobproto(values, diff)

    np.testing.assert_array_equal(io.blobproto_to_array(blob, return_diff=True), diff)


def test_a_missing_gradient_and_a_wrong_count_are_refused() -> None:
    with pytest.raises(ShapeError, match="the blob has no diff"):
        io.blobproto_to_array(io.array_to_blobproto(np.ones(3)), return_diff=True)
    with pytest.raises(ShapeError, match=r"shape \(2, 2, 1, 1\) has 3 values"):
        io.blobproto_to_array(BlobProto(num=2, channels=2, height=1, width=1, data=[1, 2, 3]))


def test_a_list_of_arrays_survives_the_bytes_of_a_vector() -> None:
    arrays = [np.arange(6.0).reshape(2, 3), np.ones(())]

    back = io.blobprotovector_str_to_arraylist(io.arraylist_to_blobprotovector_str(arrays))

    assert [array.tolist() for array in back] == [array.tolist() for array in arrays]


@pytest.mark.parametrize(
    ("name", "values", "label"),
    [("datum_u8.bin", RECORD["datum_u8"], 7), ("datum_float.bin", RECORD["blob"], 3)],
)
def test_a_datum_is_written_in_caffes_bytes_and_read_back(
    name: str, values: Any, label: int
) -> None:
    recorded = (DATA / name).read_bytes()

    assert io.array_to_datum(values, label).SerializeToString() == recorded
    np.testing.assert_array_equal(io.datum_to_array(Datum.FromString(recorded)), values)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
def test_any_bytes_survive_a_datum(channels: int, height: int, width: int) -> None:
    values = np.random.default_rng(height).integers(0, 256, (channels, height, width), np.uint8)

    np.testing.assert_array_equal(io.datum_to_array(io.array_to_datum(values)), values)


def test_a_datum_needs_three_axes() -> None:
    with pytest.raises(ShapeError, match=r"Incorrect array shape.*\(1, 2, 3, 4\)"):
        io.array_to_datum(np.zeros((1, 2, 3, 4)))


def test_a_datum_with_a_picture_file_says_how_to_open_it() -> None:
    with pytest.raises(UsageError, match=r"Image\.open"):
        io.datum_to_array(Datum(channels=3, height=1, width=1, data=b"\x89PNG", encoded=True))


def test_a_datum_of_too_few_values_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"got 2 values, expected \(3, 1, 1\)"):
        io.datum_to_array(Datum(channels=3, height=1, width=1, data=b"ab"))
