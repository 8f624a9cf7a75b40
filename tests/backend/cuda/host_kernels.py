"""The CUDA kernels on a processor: the same sources by the C++ compiler, threads one after the other.

One library per storage type lies under build/host_kernels, named by the hash of what it was made from, so
that sessions and workers share it.
"""

from __future__ import annotations

import ctypes as ct
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from nst.backend.cuda.kernels import (
    NATIVE,
    STORAGES,
    Kernel,
    blocks_for,
    convert,
    find_kernel,
    kernels,
    storage_of,
)

HERE = Path(__file__).parent
BUILD = HERE.parents[2] / "build" / "host_kernels"
FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-Wall", "-Werror")
TOLERATED = ("-Wno-unknown-pragmas",)
C_TYPES = {"p": ct.c_void_p, "i": ct.c_longlong, "f": ct.c_float, "d": ct.c_double}
C_NAMES = {"p": "void*", "i": "long long", "f": "float", "d": "double"}


def compiler() -> str | None:
    """The C++ compiler, or None."""
    return shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("clang++")


class HostKernels:
    """Has the interface of nst.backend.cuda.kernels.CudaKernels; addresses are those of numpy arrays."""

    def __init__(self) -> None:
        if compiler() is None:
            pytest.skip("needs a C++ compiler to run the CUDA kernels on the processor")

    def launch(self, name: str, storage: str, threads: int, *arguments: int | float) -> None:
        kernel = find_kernel(name)
        values = convert(kernel, arguments)
        function = library(storage_of(kernel, storage))[f"run_{name}"]
        function.argtypes = [ct.c_longlong, *(C_TYPES[letter] for letter in kernel.letters)]
        function.restype = None
        function(blocks_for(threads), *(value.item() for value in values))

    def prepare(self, storage: str) -> None:
        library(storage)


@cache
def library(storage: str) -> ct.CDLL:
    """The compiled kernels of one storage type."""
    text = program(storage)
    command = [compiler() or "", *FLAGS, *TOLERATED]
    key = hashlib.sha256("\0".join([text, *command]).encode()).hexdigest()[:16]
    target = BUILD / f"{storage}-{key}.so"
    if not target.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            source, result = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
            source.write_text(text)
            run = subprocess.run(
                [*command, "-o", str(result), str(source)], capture_output=True, text=True
            )
            assert run.returncode == 0, f"the kernels do not compile for a processor:\n{run.stderr}"
            result.replace(target)
    return ct.CDLL(str(target))


def program(storage: str) -> str:
    """One C++ source: the shim, all kernels of a storage type, and a function run_<name> for each."""
    mine = [kernel for kernel in kernels().values() if _belongs(kernel, storage)]
    files = sorted({kernel.file for kernel in mine})
    parts = [f"#define NST_STORAGE {STORAGES[storage]}", (HERE / "host_shim.h").read_text()]
    parts += [path.read_text() for path in (NATIVE / "vectors.cuh", NATIVE / "reduce.cuh")]
    for file in files:
        lines = (NATIVE / f"{file}.cu").read_text().splitlines()
        body = "\n".join(line for line in lines if not line.startswith("#include"))
        parts.append(f'#line 1 "{file}.cu"\n{body}')
    for kernel in mine:
        declared = [f"{C_NAMES[letter]} a{i}" for i, letter in enumerate(kernel.letters)]
        given = ", ".join(
            f"nst_host::Pointer{{a{i}}}" if letter == "p" else f"a{i}"
            for i, letter in enumerate(kernel.letters)
        )
        parts.append(
            f'extern "C" void run_{kernel.name}(long long blocks, {", ".join(declared)}) '
            f"{{ nst_host::run(blocks, [&] {{ nst_{kernel.name}({given}); }}); }}"
        )
    return "\n".join(parts)


def _belongs(kernel: Kernel, storage: str) -> bool:
    if storage == "fp64":
        return kernel.takes_double
    return storage_of(kernel, storage) == storage
