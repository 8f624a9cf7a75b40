"""Genuine pretrained networks give what the real Caffe computes with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nst
from nst.backend import Backend
from nst.io.known_models import locate_models
from nst.io.prototxt import read_net

pytestmark = pytest.mark.shared

PICTURES = ["bridge", "starry"]


@pytest.fixture
def squeezenet(shared: Path, backend: Backend) -> nst.Net:
    return nst.Net(
        locate_models() / "squeezenet_v1.0/net_deep_compression.prototxt",
        phase=nst.TEST,
        weights=shared / "models/squeezenet_v1.0/squeezenet_v1.0.caffemodel",
        backend=backend,
    )


@pytest.mark.parametrize("name", PICTURES)
def test_squeezenet_computes_what_the_real_caffe_recorded(
    name: str, squeezenet: nst.Net, shared: Path
) -> None:
    # provenance: real BVLC Caffe 1.0-136-g9b89154, CPU, float32 (../shared/models/squeezenet_v1.0)
    expected = np.load(shared / "models/squeezenet_v1.0/expected.npz")
    data = expected[f"{name}|data"].astype(np.float32)

    squeezenet.blobs["data"].reshape(1, *data.shape)
    outputs = squeezenet.forward(data=data[None])
    probabilities = squeezenet.backend.to_host(outputs["prob"])[0]

    np.testing.assert_allclose(probabilities, expected[f"{name}|prob"], rtol=1e-4, atol=1e-7)
    for blob in ("conv1", "fire2/concat", "fire5/concat", "fire9/concat"):
        values = squeezenet.blobs[blob].to_host().astype(np.float64)
        every = values.ravel()[:: values.size // 997]
        summary = [values.mean(), values.std(), np.abs(values).max(), every.sum()]
        np.testing.assert_allclose(summary, expected[f"{name}|{blob.replace('/', '|')}"], rtol=1e-4)


@pytest.mark.parametrize(
    ("net", "record"),
    [("det1", "1x3x12x12"), ("det1", "1x3x61x47"), ("det3", "2x3x48x48")],
)
def test_mtcnn_computes_what_the_real_caffe_recorded(
    net: str, record: str, shared: Path, backend: Backend
) -> None:
    # provenance: kpzhang93's published MTCNN (MIT) run by the real BVLC Caffe 1.0-136-g9b89154
    folder = shared / "oracle/real/mtcnn"
    expected = np.load(folder / f"{net}.caffemodel_{record}.npz")
    param = read_net(folder / f"{net}.prototxt")
    param.force_backward = True
    model = nst.Net(
        param,
        phase=nst.TEST,
        weights=folder / f"{net}.caffemodel",
        backend=backend,
    )
    data = expected["in/data"]
    model.blobs["data"].reshape(*data.shape)

    model.forward(data=data)

    outs = [name for name in expected.files if name.startswith("out/")]
    assert len(outs) > 3
    for name in outs:
        values = model.blobs[name.removeprefix("out/")].to_host()
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(values / scale, expected[name] / scale, atol=1e-4)
    for name in (n for n in expected.files if n.startswith("topdiff/")):
        blob = model.blobs[name.removeprefix("topdiff/")]
        blob.diff[...] = backend.asarray(expected[name], np.float32)
    model.backward()
    gradient, recorded = model.blobs["data"].diff_to_host(), expected["grad/data"]
    assert np.linalg.norm(gradient - recorded) < 1e-4 * np.linalg.norm(recorded)


@pytest.mark.parametrize(("preset", "left"), [("gatys", 0.2), ("fine", 0.4)])
def test_starry_night_is_painted_onto_the_bridge_and_the_loss_only_falls(
    preset: str, left: float, shared: Path, backend: Backend
) -> None:
    """The relative losses of fine fall more slowly: to 0.32 in these 25 iterations, to 0.17 in 200."""
    result = nst.style_transfer(
        shared / "images/train_bridge.jpg",
        shared / "images/starry_night.jpg",
        solver=locate_models() / "squeezenet_v1.0/solver.prototxt",
        net=locate_models() / "squeezenet_v1.0/net_deep_compression.prototxt",
        weights=shared / "models/squeezenet_v1.0/squeezenet_v1.0.caffemodel",
        preset=preset,
        size=160,
        max_iter=25,
        backend=backend,
    )

    losses = [progress.record.loss for progress in result.history]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < left * losses[0]
