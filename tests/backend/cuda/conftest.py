"""Fixtures of the CUDA kernels' tests."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cuda.host_kernels import HostKernels
from backend.cuda.kernel_rig import KernelRig, cuda_rig
from support.gpu import require_gpu


@pytest.fixture(params=["processor", pytest.param("gpu", marks=pytest.mark.gpu)])
def rig(request: pytest.FixtureRequest) -> KernelRig:
    """The kernels on the processor, and on the GPU where there is one."""
    if request.param == "gpu":
        require_gpu(request.config)
        return cuda_rig()
    return KernelRig(HostKernels(), np)


@pytest.fixture(params=["fp32", "fp16", "bf16"])
def storage(request: pytest.FixtureRequest) -> str:
    return str(request.param)
