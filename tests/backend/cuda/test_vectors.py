"""How often the solver's vector steps wait for the device; what they compute, test_operations.py says."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cuda.host_device import HostDevice

from nst.backend.cuda import cuda_device
from nst.backend.cuda.backend import CudaBackend
from nst.solvers.curvature import CurvaturePairs


@pytest.fixture
def backend_on_host() -> tuple[CudaBackend, HostDevice]:
    device = HostDevice()
    return CudaBackend(device), device


@pytest.mark.parametrize(("gated", "waits"), [(False, 0), (True, 1)])
def test_a_direction_of_lbfgs_waits_once_at_most(
    backend_on_host: tuple[CudaBackend, HostDevice],
    rng: np.random.Generator,
    gated: bool,
    waits: int,
) -> None:
    backend, device = backend_on_host
    pairs = CurvaturePairs(6, 500, np.float32, backend)
    for _ in range(6):
        s = rng.standard_normal(500, np.float32)
        assert pairs.push(*(backend.asarray(v, np.float32) for v in (s, 2 * s + 0.1)))
    q = rng.standard_normal(500, np.float32)
    free = (q > 0).astype(np.float32)
    here, gate = backend.asarray(q * free, np.float32), backend.asarray(free, np.float32)
    before = device.waits
    pairs.apply(here, gate if gated else None)
    assert device.waits - before == waits


def test_arrays_that_are_not_contiguous_take_the_other_way(
    backend_on_host: tuple[CudaBackend, HostDevice], rng: np.random.Generator
) -> None:
    backend, _ = backend_on_host
    values = rng.standard_normal((6, 4), np.float32)
    here = backend.asarray(values, np.float32)
    assert backend.dot(here[:, :2], here[:, 2:]) == pytest.approx(
        (values[:, :2] * values[:, 2:]).sum(), rel=1e-5
    )


def test_backends_of_a_process_share_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_device, "CudaDevice", lambda **_: HostDevice())
    cuda_device.device_of_process.cache_clear()
    try:
        first, second = CudaBackend(precision="fp16"), CudaBackend()
        assert first.device is second.device
    finally:
        cuda_device.device_of_process.cache_clear()
