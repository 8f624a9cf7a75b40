"""Whether there is a GPU for the tests that need one, and what happens where there is none."""

from __future__ import annotations

from functools import cache

import pytest


@cache
def missing_gpu() -> str | None:
    """Why nothing can run on a GPU here, or None if it can."""
    try:
        import cupy
    except ImportError:
        return "needs CuPy, which is not installed"
    if not cupy.cuda.is_available():
        return "needs a CUDA device and its driver"
    return None


def require_gpu(config: pytest.Config) -> None:
    """Skips the test where there is no GPU, or fails it under --require-gpu."""
    reason = missing_gpu()
    if reason and config.getoption("--require-gpu"):
        pytest.fail(f"--require-gpu: {reason}")
    if reason:
        pytest.skip(reason)
