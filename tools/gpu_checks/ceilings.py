"""What everything is measured on, and what it can do at best: matrix products and copies, in the same run."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np

from gpu_checks.engine import make_backend, seconds_of
from gpu_checks.stages import ROOT, Rows, Scale
from nst.backend.cuda.kernels import kernels

PACKAGES = (
    "numpy",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "nvidia-cudnn-cu13",
    "nvidia-cudnn-cu12",
    "nvidia-cublas",
    "nvidia-cuda-nvrtc",
    "torch",
    "triton",
)


def environment(scale: Scale, rows: Rows) -> None:
    """What everything else was measured on."""
    rows.add(item="system", value=f"{platform.platform()}, Python {platform.python_version()}")
    rows.add(item="packages", value=", ".join(_versions()))
    rows.add(item="commit", value=_output("git", "rev-parse", "--short=12", "HEAD"))
    query = "name,driver_version,memory.total,clocks.sm,clocks.mem,power.limit"
    rows.add(item="nvidia-smi", value=_output("nvidia-smi", f"--query-gpu={query}", "--format=csv"))
    backend: Any = make_backend(scale, "fp32")
    rows.add(item="gpu", value=backend.device.description)
    rows.add(item="free memory, GB", value=backend.device.free_bytes() / 1e9)
    backend.device.kernels.prepare("fp16")
    rows.add(item="kernels", value=f"{len(kernels())} kernels compiled and loaded")


def ceilings(scale: Scale, rows: Rows) -> None:
    """TFLOP/s of a large matrix product in each precision, GB/s of a copy (bytes read and written)."""
    for precision in ("fp16", "tf32", "fp32"):
        rows.add(what=f"matrix product, {precision}", tflops=_product(scale, precision) / 1e12)
    backend: Any = make_backend(scale, "fp32")
    count = scale.count(1 << 29)
    source, target = (backend.zeros((count,), np.float32) for _ in range(2))
    seconds = seconds_of(backend, lambda: backend.xp.copyto(target, source))
    rows.add(what="copy", gb_per_s=8 * count / seconds / 1e9)


def _product(scale: Scale, precision: str) -> float:
    """FLOP/s of an n x n product of random factors."""
    from nst.backend.cuda.cublas import Matrix

    backend: Any = make_backend(scale, precision)
    device, n = backend.device, 64 if scale.dry else 8192
    storage = "fp16" if precision == "fp16" else "fp32"
    host = np.random.default_rng(0).standard_normal((n, n), np.float32)
    if storage == "fp16":
        host = host.astype(np.float16)
    arrays = [device.upload(host), device.upload(host), device.empty((n, n), np.float32)]
    a, b, out = (
        Matrix(device.address(array), kind, n)
        for array, kind in zip(arrays, (storage, storage, "fp32"), strict=True)
    )
    multiply: Callable[[], object] = lambda: device.multiply(  # noqa: E731
        a, b, out, (n, n, n), tf32=precision == "tf32"
    )
    return 2 * n**3 / seconds_of(backend, multiply)


def _versions() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return found


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return f"no {command[0]}"
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT)
    return done.stdout.strip() or done.stderr.strip()


def gpu_name() -> str:
    """The GPU's name by the driver's own tool: nothing of CUDA is started."""
    query = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return query.splitlines()[0]
