"""`nst info`: versions, backends and why each is or is not there, models, the machine."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

from nst.backend import available_backends
from nst.backend.cpu.threads import available_threads
from nst.backend.cuda.library import NEVER_RAN
from nst.cli.versions import EXTRAS, version_of, versions
from nst.io.known_models import KnownModel, cache_folder, cached_file, known_models

_FEATURES = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "neon", "asimd")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("info", help="versions, backends, models and what is missing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints what a bug report needs, and what a user can do about what is missing."""
    print("versions")
    for name, version in versions().items():
        _row(name, version)
    for extra, library in EXTRAS.items():
        missing = f"not installed: pip install 'nst-caffe[{extra}]'"
        _row(library, version_of(library) or missing)
    print("backends, in the order in which auto prefers them")
    for state in available_backends():
        _row(state.name, ("yes: " if state.available else "no: ") + state.reason)
        if state.name == "cuda" and not state.available:
            _row("", f"({NEVER_RAN})")
    print("models")
    for model in known_models().values():
        _row(model.name, _weights_of(model))
    _row("cache", str(cache_folder()))
    print("machine")
    _row("system", f"{platform.system()} {platform.release()} {platform.machine()}")
    _row("processors", f"{available_threads()} usable of {os.cpu_count()}")
    _row("features", " ".join(cpu_features()) or "not known on this system")
    return 0


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Instruction sets that matter here, as Linux tells them; empty elsewhere."""
    if not cpuinfo.is_file():
        return []
    lines = cpuinfo.read_text(errors="replace").splitlines()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "").split()
    return [name for name in _FEATURES if name in flags]


def _weights_of(model: KnownModel) -> str:
    for path in (model.shipped_file, cached_file(model)):
        if path.is_file():
            return f"weights in {path}"
    return f"weights to be fetched: nst weights fetch {model.name} ({model.bytes / 1e6:,.0f} MB)"


def _row(name: str, text: str) -> None:
    print(f"  {name:<20} {text}")
