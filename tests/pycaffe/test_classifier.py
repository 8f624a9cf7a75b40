"""Classifier: crops, averaging, and the net's own arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nst.errors import ShapeError, UsageError
from nst.pycaffe import Classifier, Net, NetSpec
from nst.pycaffe import layers as L

SIZE = 4
CLASSES = 3


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A linear net of batch 4 whose outputs are known, and its weights."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [4, 3, SIZE, SIZE]})
    n.out = L.InnerProduct(n.data, num_output=CLASSES, weight_filler={"type": "xavier"})
    model = tmp_path / "deploy.prototxt"
    model.write_text(str(n.to_proto()))
    net = Net(model, phase=1, backend="numpy", seed=5)
    net.save(tmp_path / "w.caffemodel")
    return model, tmp_path / "w.caffemodel"


def classifier(files: tuple[Path, Path], **options: object) -> Classifier:
    return Classifier(str(files[0]), str(files[1]), backend="numpy", **options)  # type: ignore[arg-type]


def linear(net: Net, pictures: np.ndarray) -> np.ndarray:
    """What the net computes for (N, C, H, W), written down."""
    return pictures.reshape(len(pictures), -1) @ net.params["out"][0].to_host().T


def test_the_centre_is_classified_by_itself(
    files: tuple[Path, Path], rng: np.random.Generator
) -> None:
    net = classifier(files, image_dims=(8, 6), raw_scale=255, channel_swap=(2, 1, 0))
    pictures = [rng.random((8, 6, 3)).astype(np.float32) for _ in range(3)]

    predicted = net.predict(pictures, oversample=False)

    centres = np.stack([p[2:6, 1:5, ::-1].transpose(2, 0, 1) * 255 for p in pictures])
    np.testing.assert_allclose(predicted, linear(net, centres), rtol=1e-4, atol=1e-3)


def test_ten_crops_are_averaged(files: tuple[Path, Path], rng: np.random.Generator) -> None:
    mean = np.array([0.1, 0.2, 0.3])
    net = classifier(files, image_dims=(6, 6), mean=mean, input_scale=2)
    picture = rng.random((6, 6, 3)).astype(np.float32)

    predicted = net.predict([picture])

    crops = []
    for top, left in [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]:
        crop = picture[top : top + SIZE, left : left + SIZE]
        crops += [crop, crop[:, ::-1]]
    blobs = (np.stack(crops) - mean).transpose(0, 3, 1, 2) * 2
    np.testing.assert_allclose(predicted, linear(net, blobs).mean(axis=0)[None], atol=1e-5)


def test_pictures_are_brought_to_the_nets_size(files: tuple[Path, Path]) -> None:
    net = classifier(files)

    predicted = net.predict([np.ones((30, 17, 3)), np.ones((5, 50, 3))])

    np.testing.assert_allclose(
        predicted, linear(net, np.ones((2, 3, SIZE, SIZE))), rtol=1e-4, atol=1e-5
    )


def test_no_pictures_and_too_small_ones_are_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="no pictures"):
        classifier(files).predict([])
    with pytest.raises(ShapeError, match=r"got \(3, 3\), expected at least \(4, 4\)"):
        classifier(files, image_dims=(3, 3)).predict([np.ones((9, 9, 3))], oversample=False)


def test_a_net_of_two_inputs_is_no_classifier(tmp_path: Path) -> None:
    n = NetSpec()
    n.a, n.b = L.Input(shape={"dim": [1, 3, 4, 4]}, ntop=2)
    n.out = L.Eltwise(n.a, n.b)
    (tmp_path / "net.prototxt").write_text(str(n.to_proto()))
    Net(tmp_path / "net.prototxt", phase=1).save(tmp_path / "w.caffemodel")

    with pytest.raises(UsageError, match=r"got inputs \['a', 'b'\], expected exactly one"):
        Classifier(tmp_path / "net.prototxt", tmp_path / "w.caffemodel")
