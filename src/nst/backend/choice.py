"""Which backends are there, why the others are not, and what `auto` chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nst.backend.cpu import CpuBackend
from nst.backend.cpu.library import load as load_cpu_engine
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
    """All backends in the order in which `auto` prefers them."""
    return [probe() for probe, _ in _BACKENDS.values()]


def get_backend(name: str = "auto", *, threads: int | None = None) -> Backend:
    """Returns a backend by name; `auto` takes the first available one.

    Raises BackendUnavailable if it was asked for by name and is not there: never a silent fallback.
    """
    if name == "auto":
        name = next(row.name for row in available_backends() if row.available)
    if name not in _BACKENDS:
        known = ["auto", *_BACKENDS]
        raise UsageError(
            f"backend: unknown name (got {name!r}, expected one of {', '.join(known)})."
            f"{did_you_mean(name, known)}"
        )
    probe, make = _BACKENDS[name]
    state = probe()
    if not state.available:
        raise BackendUnavailable(f"backend '{name}' is not available: {state.reason}")
    return make(threads)


def _probe_cpu() -> Availability:
    try:
        library = load_cpu_engine()
    except BackendUnavailable as error:
        return Availability("cpu", False, str(error))
    return Availability("cpu", True, f"compiled engine, {library.nst_isa().decode()} kernels")


def _probe_numpy() -> Availability:
    return Availability("numpy", True, "plain numpy, the reference")


_BACKENDS: dict[str, tuple[Callable[[], Availability], Callable[[int | None], Backend]]] = {
    "cpu": (_probe_cpu, CpuBackend),
    "numpy": (_probe_numpy, lambda threads: NumpyBackend()),
}
"""Name -> (is it there?, make one); the order is the preference of `auto`."""
