"""What is missing is told by its cause, with one command that helps; a fake CuPy plays every case."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nst.backend.cuda import library
from nst.errors import BackendUnavailable


class CudaRuntimeError(Exception):
    """CuPy's, which carries CUDA's number."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def fake_cupy(
    *, devices: int = 1, status: int = 0, driver: int = 13000, capability: str = "90"
) -> Any:
    """As much of CuPy as the checks ask for."""

    def count() -> int:
        if status:
            raise CudaRuntimeError(status)
        return devices

    runtime = SimpleNamespace(
        CUDARuntimeError=CudaRuntimeError,
        getDeviceCount=count,
        driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: 13020,
    )
    device = SimpleNamespace(compute_capability=capability)
    return SimpleNamespace(cuda=SimpleNamespace(runtime=runtime, Device=lambda: device))


def test_a_gpu_that_is_there_is_accepted() -> None:
    library.check_device(fake_cupy())


@pytest.mark.parametrize(
    ("cupy", "message"),
    [
        (fake_cupy(status=35, driver=0), r"no NVIDIA driver is loaded.*nvidia-smi.*--gpus all"),
        (
            fake_cupy(status=35, driver=12040),
            r"driver is too old \(it knows CUDA 12\.4, CuPy needs 13\.2\).*nst-caffe\[cuda12\]",
        ),
        (fake_cupy(status=100), r"the NVIDIA driver finds no GPU\. Check with: nvidia-smi"),
        (fake_cupy(devices=0), r"the NVIDIA driver finds no GPU"),
        (fake_cupy(status=803), r"CUDA does not start \(status 803\)\. Check with: nvidia-smi"),
        (
            fake_cupy(capability="61"),
            r"too old \(got compute capability 6\.1, expected at least 7\.5\)",
        ),
    ],
)
def test_every_cause_has_its_own_message(
    cupy: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    with pytest.raises(BackendUnavailable, match=message):
        library.check_device(cupy)


def test_hidden_gpus_are_told_apart_from_missing_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    with pytest.raises(BackendUnavailable, match=r"no GPU is visible.*unset CUDA_VISIBLE_DEVICES"):
        library.check_device(fake_cupy(status=100))


def packages(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Makes exactly these packages of CuPy look installed."""

    def version(name: str) -> str:
        if name not in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return "14.2.0"

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_missing_cupy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    packages(monkeypatch)
    monkeypatch.setitem(sys.modules, "cupy", None)

    with pytest.raises(
        BackendUnavailable, match=r"not installed: pip install 'nst-caffe\[cuda13\]'"
    ):
        library.import_cupy()


def test_a_broken_cupy_is_to_be_installed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    packages(monkeypatch, "cupy-cuda13x")
    monkeypatch.setitem(sys.modules, "cupy", None)

    with pytest.raises(BackendUnavailable, match="--force-reinstall cupy-cuda13x"):
        library.import_cupy()


def test_two_packages_of_cupy_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    packages(monkeypatch, "cupy-cuda12x", "cupy-cuda13x")

    with pytest.raises(BackendUnavailable, match="Keep one: pip uninstall cupy-cuda12x"):
        library.import_cupy()


def test_cudnn_that_is_nowhere_names_the_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NST_CUDNN", raising=False)
    monkeypatch.setattr(library, "_in_process", lambda name: None)
    monkeypatch.setattr(library, "Path", lambda name: tmp_path / name)

    with pytest.raises(BackendUnavailable, match=r"cuDNN 9 is not found.*nvidia-cudnn-cu13"):
        library.load_cudnn([tmp_path])


def test_nst_cudnn_must_name_a_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NST_CUDNN", str(tmp_path))

    with pytest.raises(BackendUnavailable, match=r"NST_CUDNN: cannot be loaded.*unset NST_CUDNN"):
        library.load_cudnn([])


def test_a_library_in_the_process_is_found_by_its_name(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r-xp 00000000 08:01 12 /opt/a folder/lib/libcudnn.so.9\n"
        "7f01-7f02 rw-p 00000000 00:00 0 \n"
        "7f02-7f03 r-xp 00000000 08:01 13 /usr/lib/libm.so.6\n"
    )

    assert library._in_process("libcudnn.so.9", maps) == Path("/opt/a folder/lib/libcudnn.so.9")
    assert library._in_process("libcublas.so.13", maps) is None


def test_an_old_cudnn_is_refused() -> None:
    class Old:
        class cudnnGetVersion:  # stands for a C function
            restype: Any = None

            def __new__(cls) -> Any:
                return 8907

    with pytest.raises(BackendUnavailable, match=r"got version 8907, expected at least 90000"):
        library.check_version(Old())  # type: ignore[arg-type]
