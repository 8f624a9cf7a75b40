"""NVIDIA's compilers, which need no GPU: NVRTC as CuPy finds it, or nvcc, whichever is here."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from nst.backend.cuda.kernels import COMPILE_OPTIONS, STORAGES

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
"""Compute capabilities of the GPUs that are supported, from T4 to RTX 5090."""
CUPY_OPTIONS = ["-ftz=true", "--device-as-default-execution-space"]
"""What CuPy 14 adds to those of a RawModule when it calls NVRTC."""


def compiler_messages(source: str, storage: str, architecture: int) -> str:
    """Compiles to machine code; returns errors and warnings, or nothing. Skips without a compiler."""
    options = [*_options(storage), f"-arch=sm_{architecture}"]
    if _has_nvrtc():
        return _run_nvrtc(source, options)[0]
    return _run_nvcc(source, [*options, "-cubin"])[0]


def assembly(source: str, storage: str, architecture: int) -> str:
    """The kernels as PTX. Skips without a compiler."""
    options = [*_options(storage), f"-arch=compute_{architecture}"]
    if _has_nvrtc():
        return _run_nvrtc(source, options)[1]
    return _run_nvcc(source, [*options, "-ptx"])[1]


def _options(storage: str) -> list[str]:
    return [*COMPILE_OPTIONS, f"-DNST_STORAGE={STORAGES[storage]}"]


def _has_nvrtc() -> bool:
    try:
        from cupy_backends.cuda.libs import nvrtc

        nvrtc.getVersion()
    except Exception:  # no CuPy, or CuPy without a library: each raises something of its own
        return False
    return True


def _run_nvrtc(source: str, options: list[str]) -> tuple[str, str]:
    """(messages, PTX)."""
    from cupy_backends.cuda.libs import nvrtc

    program, ptx = nvrtc.createProgram(source, "kernels.cu", [], []), ""
    try:
        nvrtc.compileProgram(program, [*CUPY_OPTIONS, *options])
        ptx = nvrtc.getPTX(program).decode() if "compute" in options[-1] else ""
    except nvrtc.NVRTCError:
        pass  # the log says why
    return str(nvrtc.getProgramLog(program)).strip("\0\n "), ptx


def _run_nvcc(source: str, options: list[str]) -> tuple[str, str]:
    """(messages, what was written, if it is text)."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("needs NVRTC (pip install nvidia-cuda-nvrtc cupy-cuda13x) or nvcc")
    with tempfile.TemporaryDirectory() as folder:
        path, result = Path(folder, "kernels.cu"), Path(folder, "result")
        path.write_text(source)
        command = [nvcc, *options, "-o", str(result), str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        text = result.read_text() if "-ptx" in options and result.exists() else ""
    return (done.stdout + done.stderr).strip(), text
