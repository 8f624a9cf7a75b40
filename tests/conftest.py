"""Fixtures for every test: the backends that are here, the shared folder, and fixed seeds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from nst.backend import Backend, available_backends, get_backend
from nst.backend.cuda.backend import CudaBackend

REPO = Path(__file__).resolve().parent.parent
BACKENDS = ("numpy", "cpu", pytest.param("cuda", marks=pytest.mark.gpu))
ON_THE_HOST = "cuda on the host"
"""The cuda backend with its GPU played by the processor (backend/cuda/host_device.py)."""
PLAYED_IN = ("backend", "core", "layers", "net", "solvers")
"""Folders whose tests run on it; `--play-gpu` lets all."""

settings.register_profile(
    "nst", deadline=None, max_examples=40, suppress_health_check=list(HealthCheck), derandomize=True
)
settings.load_profile("nst")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-gpu", action="store_true", help="fail, instead of skip, where the GPU is missing"
    )
    parser.addoption(
        "--play-gpu", action="store_true", help="run every backend test on the played GPU too"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each backend in turn for tests that take one and do not name theirs."""
    marks = metafunc.definition.iter_markers("parametrize")
    named = any("backend" in str(mark.args[0]).split(",") for mark in marks)
    if "backend" in metafunc.fixturenames and not named:
        folder = metafunc.definition.path.relative_to(REPO / "tests").parts[0]
        played = folder in PLAYED_IN or metafunc.config.getoption("--play-gpu")
        names = (*BACKENDS, ON_THE_HOST) if played else BACKENDS
        metafunc.parametrize("backend", names, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    """The backend of that name; one that is not here is skipped with its reason."""
    if request.param == ON_THE_HOST:
        return _cuda_on_the_host()
    states = {row.name: row for row in available_backends()}
    state = states.get(request.param)
    if state is None or not state.available:
        reason = state.reason if state else "not part of this version"
        if request.param == "cuda" and request.config.getoption("--require-gpu"):
            pytest.fail(f"backend cuda: {reason}")
        pytest.skip(f"backend {request.param}: {reason}")
    return get_backend(request.param)


def _cuda_on_the_host() -> Backend:
    from backend.cuda.host_device import HostDevice

    return CudaBackend(HostDevice())


@pytest.fixture
def shared() -> Path:
    """The founders' folder of oracle numbers, models and pictures beside the repository."""
    folder = Path(os.environ.get("NST_SHARED", REPO.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("needs ../shared (oracle numbers, models and pictures), which is not here")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """Random test inputs, the same on every run."""
    return np.random.default_rng(1701)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what was skipped and why, one line per reason."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"skipped {count}: {reason.removeprefix('Skipped: ')}")
