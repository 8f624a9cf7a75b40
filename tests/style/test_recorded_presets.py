"""On a GPU one launch is one iteration, whatever the preset."""

from __future__ import annotations

from pathlib import Path

import pytest
from backend.cuda.host_device import RecordingDevice

import nst
from nst.backend import Backend
from nst.backend.cuda.backend import CudaBackend
from nst.backend.numpy_backend import NumpyBackend
from nst.style.presets import preset_names

PICTURES = Path(__file__).resolve().parents[2] / "models/quickstart"


@pytest.mark.parametrize("preset", preset_names())
def test_every_size_of_a_run_is_recorded_whole(preset: str) -> None:
    """The embedded network needs what its own job has, style_margin."""
    device = RecordingDevice()
    result = nst.style_transfer(
        *(PICTURES / "content.jpg", PICTURES / "style.jpg"),
        preset=preset,
        backend=CudaBackend(device),
        sizes=[96, 120],
        iterations=[3, 3],
        style_margin=1,
    )
    assert len(result.history) == 6
    assert device.recordings == 2


def test_features_of_a_pretrained_network_have_the_roots_that_the_layer_finds(shared: Path) -> None:
    """Up to 512 channels at 5 x 6 places: covariances that lack most of their rank."""
    folder = shared / "models/squeezenet_v1.0"

    def losses(backend: Backend) -> list[dict[str, float]]:
        result = nst.style_transfer(
            shared / "images/tubingen.jpg",
            shared / "images/starry_night.jpg",
            net=folder / "net.prototxt",
            weights=folder / "squeezenet_v1.0.caffemodel",
            content_layers=["fire7/concat"],
            style_layers=["conv1", "fire4/concat", "fire8/concat"],
            style_statistic="W2",
            sizes=[96],
            iterations=[2],
            backend=backend,
        )
        return [dict(progress.record.loss_terms) for progress in result.history]

    device = RecordingDevice()
    found, expected = losses(CudaBackend(device)), losses(NumpyBackend())
    assert device.recordings == 1
    assert found[0] == pytest.approx(expected[0], rel=2e-5)  # where the first gradient has led
    assert found[1] == pytest.approx(expected[1], rel=1e-3)
