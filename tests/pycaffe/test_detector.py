"""Detector: windows cut out, context around them, predictions in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nst.errors import UsageError
from nst.pycaffe import Detector, Net, NetSpec
from nst.pycaffe import layers as L
from nst.pycaffe.io import load_image, resize_image

SIZE = 8


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A net that says the mean of its input, with its empty weights."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [2, 3, SIZE, SIZE]})
    n.out = L.Pooling(n.data, pool="AVE", global_pooling=True)
    (tmp_path / "deploy.prototxt").write_text(str(n.to_proto()))
    Net(tmp_path / "deploy.prototxt", phase=1).save(tmp_path / "w.caffemodel")
    return tmp_path / "deploy.prototxt", tmp_path / "w.caffemodel"


def detector(files: tuple[Path, Path], **options: Any) -> Detector:
    return Detector(*files, backend="numpy", **options)


def test_each_window_is_predicted_with_its_name(files: tuple[Path, Path], tmp_path: Path) -> None:
    picture = Image.new("RGB", (20, 10), (255, 0, 0))
    picture.paste((0, 255, 0), (10, 0, 20, 10))
    picture.save(tmp_path / "a.png")
    windows = [(0, 0, 10, 10), (0, 10, 10, 20), (1, 11, 9, 19)]

    found = detector(files).detect_windows([(tmp_path / "a.png", windows)])

    assert [record["window"] for record in found] == windows
    assert {record["filename"] for record in found} == {tmp_path / "a.png"}
    means = np.stack([record["prediction"].ravel() for record in found])
    np.testing.assert_allclose(means, [[1, 0, 0], [0, 1, 0], [0, 1, 0]], atol=1e-6)


def test_without_context_a_crop_is_the_window(
    files: tuple[Path, Path], rng: np.random.Generator
) -> None:
    picture = rng.random((20, 30, 3))

    np.testing.assert_array_equal(detector(files).crop(picture, (3, 4, 9, 17)), picture[3:9, 4:17])


def test_context_inside_the_picture_widens_the_window(
    files: tuple[Path, Path], rng: np.random.Generator
) -> None:
    """8 pixels with 2 of context on each side: twice the window, about its middle."""
    picture = rng.random((40, 40, 3))

    crop = detector(files, context_pad=2).crop(picture, (10, 10, 19, 19))

    # The window includes its ends, 10 pixels with middle 15; 20 pixels from 5 to 25 fill the input.
    np.testing.assert_allclose(crop, resize_image(picture[5:25, 5:25], (SIZE, SIZE)))


def test_what_lies_outside_is_the_mean_so_that_the_net_sees_zero(
    files: tuple[Path, Path],
) -> None:
    net = detector(
        files,
        context_pad=2,
        mean=np.array([10.0, 20, 30]),
        raw_scale=255,
        channel_swap=(2, 1, 0),
    )

    crop = net.crop(np.ones((10, 10, 3), np.float32), (0, 0, 9, 9))
    seen = net.transformer.preprocess("data", crop)

    assert crop.shape == (SIZE, SIZE, 3)
    np.testing.assert_allclose(seen[:, 0, 0], 0, atol=1e-4)
    np.testing.assert_allclose(seen[:, 4, 4], [245, 235, 225], rtol=1e-5)


def test_the_pictures_own_files_are_read(files: tuple[Path, Path], tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), (51, 102, 204)).save(tmp_path / "a.png")

    (record,) = detector(files).detect_windows([(str(tmp_path / "a.png"), [(0, 0, 9, 9)])])

    np.testing.assert_allclose(
        record["prediction"].ravel(), load_image(tmp_path / "a.png")[0, 0], atol=1e-6
    )


def test_no_windows_give_no_predictions(files: tuple[Path, Path]) -> None:
    assert detector(files).detect_windows([]) == []


def test_windows_without_pixels_and_too_much_context_are_refused(
    files: tuple[Path, Path],
) -> None:
    with pytest.raises(UsageError, match=r"window: got \(5, 5, 5, 9\)"):
        detector(files).crop(np.ones((10, 10, 3)), (5, 5, 5, 9))
    with pytest.raises(UsageError, match="context_pad: got 4"):
        detector(files, context_pad=4)
