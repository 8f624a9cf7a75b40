"""The precision of a run: from the settings to the backend, and into the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cuda.host_device import HostDevice
from support.style_jobs import interrupted_job

from nst.backend import Backend
from nst.backend.cuda.backend import CudaBackend
from nst.backend.numpy_backend import NumpyBackend
from nst.errors import UsageError
from nst.style.run import run_job

PRECISIONS = {"fp32": "fp32", "tf32": "fp32", "fp16": "fp16", "bf16": "bf16"}


def painted(backend: Backend, precision: str = "") -> tuple[float, np.ndarray]:
    """Last loss and picture of 30 iterations of Adam at two sizes."""
    extra = f"style_transfer_param {{ precision: {precision.upper()} }}" if precision else ""
    result = run_job(interrupted_job("adam", backend, extra))
    return result.history[-1].record.loss, np.asarray(result.pixels)


@pytest.mark.parametrize(("precision", "storage"), PRECISIONS.items())
def test_the_settings_choose_the_precision_of_cuda(precision: str, storage: str) -> None:
    extra = f"style_transfer_param {{ precision: {precision.upper()} }}"
    job = interrupted_job("adam", CudaBackend(HostDevice()), extra)

    assert isinstance(job.backend, CudaBackend)
    assert job.backend.precision.name == precision
    assert job.backend.precision.storage == storage


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_a_backend_without_it_refuses(precision: str) -> None:
    extra = f"style_transfer_param {{ precision: {precision.upper()} }}"

    with pytest.raises(
        UsageError, match=f"'numpy' computes in fp32 .got {precision}.*--backend cuda"
    ):
        interrupted_job("adam", NumpyBackend(), extra)


def test_fp32_is_what_every_backend_has() -> None:
    extra = "style_transfer_param { precision: FP32 }"

    assert interrupted_job("adam", NumpyBackend(), extra).backend.name == "numpy"


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 1e-4), ("fp16", 0.02), ("bf16", 0.1)]
)
def test_a_whole_run_ends_near_the_loss_of_the_reference(precision: str, tolerance: float) -> None:
    expected, _ = painted(NumpyBackend())

    loss, _ = painted(CudaBackend(HostDevice()), precision)

    assert loss == pytest.approx(expected, rel=tolerance)
