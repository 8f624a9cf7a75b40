"""Fixtures of the CPU engine's own tests: one engine per instruction set that this machine can run."""

from __future__ import annotations

import pytest

from nst.backend.cpu import CpuBackend
from nst.backend.cpu.library import INSTRUCTION_SETS
from nst.errors import BackendUnavailable


@pytest.fixture(scope="session", params=INSTRUCTION_SETS)
def cpu(request: pytest.FixtureRequest) -> CpuBackend:
    """The backend on each instruction set in turn, two threads; skipped with the reason if it cannot run."""
    try:
        return CpuBackend(2, request.param)
    except BackendUnavailable as error:
        pytest.skip(f"instruction set {request.param}: {error}")
