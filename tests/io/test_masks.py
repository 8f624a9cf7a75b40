"""Masks and label maps in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst.errors import ImageError, UsageError
from nst.io.masks import labels_in, mask_from_array, read_mask


def save(path: Path, values: np.ndarray, mode: str | None = None, **options: int) -> Path:
    image = Image.fromarray(np.asarray(values, np.uint8))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.fixture
def flags(tmp_path: Path) -> np.ndarray:
    """Red, green and blue stripes of 16, 8 and 8 rows."""
    rgb = np.zeros((32, 40, 3), np.uint8)
    rgb[:16, :, 0], rgb[16:24, :, 1], rgb[24:, :, 2] = 255, 255, 255
    return rgb


def test_grey_values_are_soft_weights(tmp_path: Path) -> None:
    grey = np.array([[0, 51, 255], [128, 255, 0]])

    mask, picture = read_mask(save(tmp_path / "m.png", grey))

    np.testing.assert_allclose(mask, grey / 255, rtol=1e-6)
    assert len(picture.sha256) == 64


def test_what_is_transparent_is_outside(tmp_path: Path) -> None:
    values = np.full((2, 2, 4), 255)
    values[0, 1, 3] = 0

    mask, _ = read_mask(save(tmp_path / "m.png", values))

    assert mask.tolist() == [[1, 0], [1, 1]]


def test_the_tint_of_a_jpeg_is_grey_and_a_colour_is_not(tmp_path: Path, flags: np.ndarray) -> None:
    grey = np.repeat(np.arange(0, 240, 6)[None, :, None], 40, axis=0).repeat(3, axis=2)
    read_mask(save(tmp_path / "grey.jpg", grey, quality=60))

    with pytest.raises(UsageError, match=r"flags.png: not a grey mask .* name one, with region"):
        read_mask(save(tmp_path / "flags.png", flags))


def test_what_jpeg_makes_of_black_and_white_is_black_and_white(tmp_path: Path) -> None:
    halves = np.zeros((32, 48), np.uint8)
    halves[:, 16:] = 255  # on the border of two blocks

    mask, _ = read_mask(save(tmp_path / "m.jpg", halves ^ 2, quality=90))

    np.testing.assert_array_equal(mask, halves > 0)


@pytest.mark.parametrize("region", ["#ff0000", "red", "#f01010"])
def test_a_region_is_where_the_map_has_its_colour(
    region: str, tmp_path: Path, flags: np.ndarray
) -> None:
    mask, _ = read_mask(save(tmp_path / "map.png", flags), region)

    np.testing.assert_array_equal(mask, (np.arange(32) < 16)[:, None].repeat(40, axis=1))


def test_blended_and_compressed_borders_belong_to_one_side(
    tmp_path: Path, flags: np.ndarray
) -> None:
    large = Image.fromarray(flags).resize((123, 97), Image.Resampling.BILINEAR)
    large.save(tmp_path / "map.jpg", quality=70)

    masks = [read_mask(tmp_path / "map.jpg", name)[0] for name in ("red", "#00ff00", "blue")]

    np.testing.assert_array_equal(sum(masks), 1)
    np.testing.assert_allclose([mask.mean() for mask in masks], [0.5, 0.25, 0.25], atol=0.02)


def test_numbers_are_grey_levels_or_palette_indices(tmp_path: Path, flags: np.ndarray) -> None:
    labels = np.repeat([[0, 0, 1, 2]], 3, axis=0)
    indexed = Image.fromarray(labels.astype(np.uint8), mode="P")
    indexed.putpalette([9, 9, 9, 9, 9, 9, 200, 0, 0])
    indexed.save(tmp_path / "p.png")
    grey = save(tmp_path / "g.png", labels * 100)

    assert read_mask(tmp_path / "p.png", "1")[0].tolist() == [[0, 0, 1, 0]] * 3
    assert read_mask(grey, "100")[0].tolist() == [[0, 0, 1, 0]] * 3
    with pytest.raises(UsageError, match=r"no region 7 \(got the numbers 0, 1, 2\)"):
        read_mask(tmp_path / "p.png", "7")


def test_a_map_tells_its_labels(tmp_path: Path, flags: np.ndarray) -> None:
    indexed = Image.fromarray(np.repeat([[0, 0, 3, 2]], 3, axis=0).astype(np.uint8), mode="P")
    indexed.putpalette([9, 9, 9] * 4)
    indexed.save(tmp_path / "p.png")

    assert labels_in(tmp_path / "p.png") == ["0", "2", "3"]
    assert labels_in(save(tmp_path / "g.png", [[0, 7], [7, 200]])) == ["0", "7", "200"]
    assert set(labels_in(save(tmp_path / "c.png", flags))) == {"#ff0000", "#00ff00", "#0000ff"}


def test_a_colour_that_is_not_there_is_told_those_that_are(
    tmp_path: Path, flags: np.ndarray
) -> None:
    path = save(tmp_path / "map.png", flags)

    with pytest.raises(UsageError, match=r"no region 'yellow' .got the colours #ff0000, "):
        read_mask(path, "yellow")
    with pytest.raises(UsageError, match=r"region: no colour or number .got 'skyy'"):
        read_mask(path, "skyy")


def test_arrays_are_truth_values_shares_or_bytes() -> None:
    assert mask_from_array(np.array([[True, False]])).tolist() == [[1, 0]]
    assert mask_from_array(np.array([[0.25, 1.0]])).tolist() == [[0.25, 1]]
    assert mask_from_array(np.array([[51, 255]])).tolist() == [[pytest.approx(0.2), 1]]
    for bad in (np.zeros((2, 2, 3)), np.array([[1.5]]), np.array([[np.nan]]), np.array([[-1]])):
        with pytest.raises(ImageError, match="array: not a mask"):
            mask_from_array(bad)
