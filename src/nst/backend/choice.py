"""Which backends are there, why the others are not, and what `auto` chooses.

`auto` takes cpu, else numpy. It does not take cuda, which stands last and is taken by name only, for as
long as it has not been seen to run on a GPU; so a machine's GPU, and CUDA with its memory, are never
touched unasked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nst.backend.cpu import CpuBackend
from nst.backend.cpu.library import load as load_cpu_engine
from nst.backend.cpu.library import why_no_bf16
from nst.backend.cuda import library as cuda_library
from nst.backend.cuda.backend import CudaBackend
from nst.backend.interface import Backend
from nst.backend.numpy_backend import NumpyBackend
from nst.errors import BackendUnavailable, UsageError, did_you_mean


@dataclass(frozen=True)
class Availability:
    """One row of `nst info`: a backend, whether it can be used here, and why or why not."""

    name: str
    available: bool
    reason: str


def available_backends() -> list[Availability]:
    """All backends in the order in which `auto` prefers them. Starts CUDA, if it is there."""
    return [availability(name) for name in _BACKENDS]


def availability(name: str) -> Availability:
    """The row of one backend, without a look at the others."""
    probe, _ = _BACKENDS[name]
    return probe()


def get_backend(name: str = "auto", *, threads: int | None = None) -> Backend:
    """Returns a backend by name; `auto` takes the first available one.

    Raises BackendUnavailable if it was asked for by name and is not there: never a silent fallback.
    """
    if name == "auto":
        name = next(name for name in _BACKENDS if availability(name).available)
    if name not in _BACKENDS:
        known = ["auto", *_BACKENDS]
        raise UsageError(
            f"backend: unknown name (got {name!r}, expected one of {', '.join(known)})."
            f"{did_you_mean(name, known)}"
        )
    _, make = _BACKENDS[name]
    state = availability(name)
    if not state.available:
        raise BackendUnavailable(f"backend '{name}' is not available: {state.reason}")
    return make(threads)


def _probe_cpu() -> Availability:
    try:
        library = load_cpu_engine()
    except BackendUnavailable as error:
        return Availability("cpu", False, str(error))
    precisions = "fp32" if why_no_bf16(library) else "fp32 and bf16"
    kernels = f"{library.nst_isa().decode()} kernels"
    return Availability("cpu", True, f"compiled engine, {kernels}, {precisions}")


def _probe_numpy() -> Availability:
    return Availability("numpy", True, "plain numpy, the reference")


def _probe_cuda() -> Availability:
    try:
        libraries = cuda_library.load()
    except BackendUnavailable as error:
        return Availability("cuda", False, str(error))
    return Availability("cuda", True, f"{libraries.describe()}; {cuda_library.NEVER_RAN}")


_BACKENDS: dict[str, tuple[Callable[[], Availability], Callable[[int | None], Backend]]] = {
    "cpu": (_probe_cpu, CpuBackend),
    "numpy": (_probe_numpy, lambda threads: NumpyBackend()),
    "cuda": (_probe_cuda, lambda threads: CudaBackend()),
}
"""Name -> (is it there?, make one); the order is the preference of `auto`."""
