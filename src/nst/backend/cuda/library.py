"""What the cuda backend stands on: CuPy, a driver with a GPU, cuDNN and cuBLAS; found when first asked for.

Every failure is told by its cause and with the one command that helps. The order of loading matters: NVRTC
and its builtins come before libcudnn, whose run-time compiler opens them by their bare names; a libcudnn
that is in the process already (PyTorch brings one) is used, because two of them in one process do not get
along. `NST_CUDNN` names another libcudnn: the file, or its folder.
"""

from __future__ import annotations

import ctypes as ct
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nst.errors import BackendUnavailable

NEVER_RAN = "it has not run on a GPU yet; please report what `tools/gpu_check` says"
"""What is told wherever the backend is named, until the check on a GPU has been made."""

OLDEST_CUDNN = 90000
OLDEST_ARCHITECTURE = 75
"""Turing: what CUDA 13 and its libraries start at."""

_NO_DEVICE, _OLD_DRIVER = 100, 35
"""cudaErrorNoDevice, cudaErrorInsufficientDriver (also said where there is no driver at all)."""


@dataclass(frozen=True)
class Libraries:
    """The loaded libraries."""

    cupy: Any
    cudnn: ct.CDLL
    cublas: ct.CDLL
    cudnn_version: int
    """As cudnnGetVersion tells: 91900 is 9.19.0."""

    def describe(self) -> str:
        """Names and versions, for the plan cache and for reports."""
        major, minor = divmod(self.cudnn_version, 10000)
        return f"CuPy {self.cupy.__version__}, cuDNN {major}.{minor // 100}.{minor % 100}"


@functools.cache
def load() -> Libraries:
    """Loads everything. Raises BackendUnavailable with the cause and the command that helps."""
    cupy = import_cupy()
    check_device(cupy)
    folders = list(wheel_folders(cuda_major(cupy)))
    preload_compiler(folders)
    cudnn = load_cudnn(folders)
    return Libraries(cupy, cudnn, load_cublas(folders, cuda_major(cupy)), check_version(cudnn))


# ---- CuPy and the device -------------------------------------------------------------------------


def import_cupy() -> Any:
    """CuPy, if exactly one of its packages is installed."""
    installed = [name for name in _cupy_packages() if _is_installed(name)]
    if len(installed) > 1:
        raise BackendUnavailable(
            f"several packages of CuPy are installed and overwrite each other (got {', '.join(installed)}). "
            f"Keep one: pip uninstall {' '.join(installed[:-1])}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # its advice about the installation is given below, once
            return importlib.import_module("cupy")
    except ImportError as error:
        if installed:
            raise BackendUnavailable(
                f"CuPy is installed but cannot be imported ({error}). "
                f"Install it again: pip install --force-reinstall {installed[0]}"
            ) from error
        raise BackendUnavailable(
            "CuPy is not installed: pip install 'nst-caffe[cuda13]' (or [cuda12], for drivers before 580)"
        ) from error


def check_device(cupy: Any) -> None:
    """Raises BackendUnavailable if there is no driver, an old one, no GPU, or only an old one."""
    runtime = cupy.cuda.runtime
    try:
        if runtime.getDeviceCount() > 0:
            _check_architecture(cupy)
            return
    except runtime.CUDARuntimeError as error:
        _explain(error.status, error, runtime)
    raise BackendUnavailable(_no_gpu())


def _explain(status: int, error: Exception, runtime: Any) -> None:
    driver = runtime.driverGetVersion()
    if status == _OLD_DRIVER and driver == 0:
        raise BackendUnavailable(
            "no NVIDIA driver is loaded. Check with: nvidia-smi"
            " (in a container: start it with --gpus all)"
        ) from error
    if status == _OLD_DRIVER:
        needed = _dotted(runtime.runtimeGetVersion())
        raise BackendUnavailable(
            f"the NVIDIA driver is too old (it knows CUDA {_dotted(driver)}, CuPy needs {needed}). "
            "Update it, or: pip uninstall cupy-cuda13x && pip install 'nst-caffe[cuda12]'"
        ) from error
    if status != _NO_DEVICE:
        raise BackendUnavailable(
            f"CUDA does not start ({error}). Check with: nvidia-smi"
        ) from error


def _no_gpu() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return (
            f"no GPU is visible (CUDA_VISIBLE_DEVICES={visible!r}). Try: unset CUDA_VISIBLE_DEVICES"
        )
    return "the NVIDIA driver finds no GPU. Check with: nvidia-smi"


def _check_architecture(cupy: Any) -> None:
    found = int(cupy.cuda.Device().compute_capability)
    if found < OLDEST_ARCHITECTURE:
        raise BackendUnavailable(
            f"the GPU is too old (got compute capability {found / 10:.1f}, expected at least "
            f"{OLDEST_ARCHITECTURE / 10:.1f}). Choose another one: export CUDA_VISIBLE_DEVICES=1"
        )


def cuda_major(cupy: Any) -> int:
    """Which CUDA this CuPy was built for: 12 or 13."""
    return int(cupy.cuda.runtime.runtimeGetVersion()) // 1000


def _cupy_packages() -> tuple[str, ...]:
    return ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


# ---- NVIDIA's libraries ----------------------------------------------------------------------------


def wheel_folders(major: int) -> Iterator[Path]:
    """Folders with shared libraries of NVIDIA's wheels of this CUDA version that are installed here."""
    spec = importlib.util.find_spec("nvidia")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    wheels = {12: ("cuda_nvrtc", "cublas", "cudnn"), 13: ("cu13", "cudnn")}.get(major, ("cudnn",))
    kind = "bin" if sys.platform == "win32" else "lib"
    for root in roots:
        for wheel in wheels:
            folder = Path(root) / wheel / kind
            if folder.is_dir():
                yield folder


def preload_compiler(folders: list[Path]) -> None:
    """Loads NVRTC's builtins and then NVRTC for all libraries to see, if the wheels have them.

    cuDNN 9.19 fails to compile any plan without: its NVRTC opens the builtins by their bare name.
    """
    patterns = {"win32": ("nvrtc-builtins*.dll", "nvrtc64_*.dll")}.get(
        sys.platform, ("libnvrtc-builtins.so.*", "libnvrtc.so.*")
    )
    for pattern in patterns:
        for folder in folders:
            for path in sorted(folder.glob(pattern)):
                ct.CDLL(str(path), mode=ct.RTLD_GLOBAL)


def load_cudnn(folders: list[Path]) -> ct.CDLL:
    """libcudnn 9: that of `NST_CUDNN`, the one in the process already, that of the wheels, the system's."""
    name = "cudnn64_9.dll" if sys.platform == "win32" else "libcudnn.so.9"
    chosen = os.environ.get("NST_CUDNN")
    if chosen:
        path = Path(chosen).expanduser()
        return _open_chosen(path / name if path.is_dir() else path)
    problems = []
    places = [_in_process(name), *(folder / name for folder in folders), Path(name)]
    for place in places:
        if place is None or (place.is_absolute() and not place.is_file()):
            continue
        try:
            return ct.CDLL(str(place))
        except OSError as error:
            problems.append(str(error))
    raise BackendUnavailable(
        f"cuDNN 9 is not found ({'; '.join(problems)}). "
        "Install it: pip install nvidia-cudnn-cu13 (nvidia-cudnn-cu12 for CUDA 12), or let NST_CUDNN name it"
    )


def _open_chosen(path: Path) -> ct.CDLL:
    try:
        return ct.CDLL(str(path))
    except OSError as error:
        raise BackendUnavailable(
            f"NST_CUDNN: cannot be loaded ({error}). To look for another: unset NST_CUDNN"
        ) from error


def _in_process(name: str, maps: Path = Path("/proc/self/maps")) -> Path | None:
    """The library of that name that this process has loaded; known on Linux only."""
    if not maps.is_file():
        return None
    lines = maps.read_text(errors="replace").splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if "/" in line}
    return next((Path(path) for path in sorted(paths) if Path(path).name == name), None)


def load_cublas(folders: list[Path], major: int) -> ct.CDLL:
    """libcublas of the CUDA version that CuPy was built for."""
    name = f"cublas64_{major}.dll" if sys.platform == "win32" else f"libcublas.so.{major}"
    for place in [_in_process(name), *(folder / name for folder in folders), Path(name)]:
        if place is None or (place.is_absolute() and not place.is_file()):
            continue
        try:
            return ct.CDLL(str(place))
        except OSError:
            continue
    package = "nvidia-cublas" if major >= 13 else f"nvidia-cublas-cu{major}"
    raise BackendUnavailable(f"cuBLAS is not found ({name}). Install it: pip install {package}")


def check_version(cudnn: ct.CDLL) -> int:
    """The version of cuDNN; raises BackendUnavailable if it is older than 9."""
    cudnn.cudnnGetVersion.restype = ct.c_size_t
    version = int(cudnn.cudnnGetVersion())
    if version < OLDEST_CUDNN:
        raise BackendUnavailable(
            f"cuDNN is too old (got version {version}, expected at least {OLDEST_CUDNN}). "
            "Update it: pip install -U nvidia-cudnn-cu13"
        )
    return version
