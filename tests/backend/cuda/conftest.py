"""Fixtures of the CUDA kernels' tests."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pytest
from backend.cuda.host_device import HostDevice
from backend.cuda.host_kernels import HostKernels
from backend.cuda.kernel_rig import KernelRig, cuda_rig
from support.gpu import require_gpu

from nst.backend.cuda.backend import CudaBackend


class Engine(Protocol):
    """Makes the backend `cuda`."""

    def __call__(self, precision: str = "fp32") -> CudaBackend: ...


@pytest.fixture(params=["processor", pytest.param("gpu", marks=pytest.mark.gpu)])
def rig(request: pytest.FixtureRequest) -> KernelRig:
    """The kernels on the processor, and on the GPU where there is one."""
    if request.param == "gpu":
        require_gpu(request.config)
        return cuda_rig()
    return KernelRig(HostKernels(), np)


@pytest.fixture(params=["processor", pytest.param("gpu", marks=pytest.mark.gpu)])
def engine(request: pytest.FixtureRequest) -> Engine:
    """On the processor that plays the GPU, and on the GPU where there is one."""
    if request.param == "gpu":
        require_gpu(request.config)
        return lambda precision="fp32": CudaBackend(precision=precision)
    return lambda precision="fp32": CudaBackend(HostDevice(), precision=precision)


@pytest.fixture(params=["fp32", "fp16", "bf16"])
def storage(request: pytest.FixtureRequest) -> str:
    return str(request.param)
