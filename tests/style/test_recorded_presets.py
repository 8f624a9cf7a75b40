"""On a GPU one launch is one iteration, whatever the preset."""

from __future__ import annotations

from pathlib import Path

import pytest
from backend.cuda.host_device import RecordingDevice

import nst
from nst.backend.cuda.backend import CudaBackend
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
