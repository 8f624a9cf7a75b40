"""Pictures out: what is written is what comes back, tagged sRGB, whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst.errors import ImageError, NstError, ShapeError, UsageError
from nst.io.colour_profile import srgb_profile
from nst.io.images import read_picture
from nst.io.picture_output import check_writable, write_picture
from nst.io.recipe import Recipe

BYTES = np.random.default_rng(6).integers(0, 256, (8, 6, 3), np.uint8)
FLAT = np.full((8, 6, 3), (200, 100, 50), np.float32)
LOSSLESS = [("png", 95), ("tif", 95), ("TIFF", 95), ("webp", 100)]


@pytest.mark.parametrize(("suffix", "quality"), LOSSLESS)
def test_every_byte_survives(tmp_path: Path, suffix: str, quality: int) -> None:
    path = tmp_path / f"a.{suffix}"
    write_picture(path, BYTES, quality=quality)
    assert np.array_equal(read_picture(path).rgb, BYTES)


@pytest.mark.parametrize(("suffix", "quality"), LOSSLESS)
def test_alpha_survives(tmp_path: Path, suffix: str, quality: int) -> None:
    path = tmp_path / f"a.{suffix}"
    alpha = np.arange(48, dtype=np.float32).reshape(8, 6)
    write_picture(path, BYTES, alpha, quality=quality)
    read = read_picture(path).alpha
    assert read is not None
    assert np.array_equal(read, alpha)


def test_alpha_is_resized_to_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_picture(path, FLAT, np.array([[0, 255]], np.float32))
    with Image.open(path) as image:
        assert image.size == (6, 8)
        column = [image.getpixel((x, 3))[3] for x in (0, 5)]
    assert column == [0, 255]


def test_jpeg_has_no_alpha_and_shows_the_background(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    write_picture(path, FLAT, np.zeros((8, 6)), background=(0, 0, 255))
    np.testing.assert_allclose(read_picture(path).rgb[4, 3], [0, 0, 255], atol=3)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
def test_lossy_formats_come_close(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write_picture(path, FLAT)
    np.testing.assert_allclose(read_picture(path).rgb, FLAT, atol=4)


def test_jpeg_keeps_full_colour_resolution(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    write_picture(path, stripes)
    np.testing.assert_allclose(read_picture(path).rgb, stripes, atol=25)


def test_values_are_rounded_and_clipped(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_picture(path, np.array([[[-5.0, 99.6, 300.0]]]))
    assert read_picture(path).rgb[0, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize("suffix", ["jpg", "tif", "webp"])
def test_pictures_carry_the_srgb_profile(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write_picture(path, FLAT)
    with Image.open(path) as image:
        assert image.info["icc_profile"] == srgb_profile()


def test_a_png_carries_the_srgb_chunk(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_picture(path, FLAT)
    with Image.open(path) as image:
        assert image.info["srgb"] == 1


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_the_same_picture_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    one, two = tmp_path / f"1.{suffix}", tmp_path / f"2.{suffix}"
    write_picture(one, BYTES, recipe=Recipe(seed=1))
    write_picture(two, BYTES, recipe=Recipe(seed=1))
    assert one.read_bytes() == two.read_bytes()


def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"'\.pgn'.*\.png, \.jpg, .*\.webp.*Did you mean '\.png'"):
        write_picture(tmp_path / "a.pgn", FLAT)


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 4), (0, 6, 3)])
def test_what_is_no_rgb_picture_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="not RGB"):
        write_picture(tmp_path / "a.png", np.zeros(shape))


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_has_a_range(tmp_path: Path, quality: int) -> None:
    with pytest.raises(UsageError, match="quality"):
        write_picture(tmp_path / "a.jpg", FLAT, quality=quality)


def test_a_picture_too_large_for_its_format_is_one_line_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    with pytest.raises(ImageError, match="cannot be encoded") as caught:
        write_picture(path, np.zeros((1, 20_000, 3), np.uint8))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nan_leaves_the_old_picture_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_picture(path, BYTES)
    with pytest.raises(ImageError):
        write_picture(path, np.full((2, 2, 3), np.nan))
    assert np.array_equal(read_picture(path).rgb, BYTES)


def test_a_folder_in_the_place_of_the_picture_is_one_line_and_nothing_left(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(NstError, match=r"a\.png") as caught:
        write_picture(tmp_path / "a.png", FLAT)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_a_full_disk_is_found_by_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NstError, match="No space left"):
        write_picture(tmp_path / "a.png", FLAT)
    assert list(tmp_path.iterdir()) == []


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_checking_accepts_a_folder_that_writing_will_make(tmp_path: Path) -> None:
    path = tmp_path / "new" / "er" / "a.png"
    check_writable(path)
    write_picture(path, FLAT)
    assert path.is_file()


def test_checking_refuses_an_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="unknown picture format"):
        check_writable(tmp_path / "a.xyz")


def test_checking_refuses_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ImageError, match="is a folder"):
        check_writable(tmp_path / "a.png")


def test_checking_refuses_a_path_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ImageError, match="cannot be written here"):
        check_writable(tmp_path / "file" / "a.png")


def test_checking_refuses_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be written here"):
        check_writable(tmp_path / ("x" * 5000) / "a.png")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nobody may write")
def test_checking_refuses_a_folder_where_nobody_may_write() -> None:
    with pytest.raises(ImageError, match="cannot be written here"):
        check_writable("/proc/a.png")
