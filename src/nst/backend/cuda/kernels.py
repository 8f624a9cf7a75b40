"""Our own CUDA kernels: sources, signatures, compilation on first use, launches.

The sources in `native/` are the only description of a kernel: its parameters are read from there. One
module is compiled per source file and storage type, by NVRTC through CuPy, for the device at hand; CuPy keeps
the result on disk. Nothing here imports CuPy before the first compilation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nst.errors import BackendError

NATIVE = Path(__file__).parent / "native"
BLOCK = 256
"""Threads per block of every kernel."""
REDUCTION_BLOCKS = 1024
"""Most blocks of a kernel that leaves one partial result per block."""
STORAGES = {"fp32": 0, "fp16": 1, "bf16": 2, "fp64": 3}
"""What maps or planar arrays are stored as, and the number that the sources know it by."""
COMPILE_OPTIONS = ("-std=c++17",)

_KERNEL = re.compile(r"NST_KERNEL\((\w+)\)\s*\(([^)]*)\)")
_MACRO = re.compile(r"#define (NST_\w+_ARGUMENTS)\s*\\?\n?\s*([^\n]+)")
_INCLUDE = re.compile(r'#include "(\w+\.cuh)"\n')


class KernelLauncher(Protocol):
    """Runs kernels by name: on a CUDA device, or on a processor in tests."""

    def launch(self, name: str, storage: str, threads: int, *arguments: int | float) -> None:
        """Runs at least `threads` threads in blocks of 256; pointers are addresses, 0 is null."""
        ...

    def prepare(self, storage: str) -> None:
        """Compiles and loads all kernels that know this storage, so that no launch has to."""
        ...


@dataclass(frozen=True)
class Kernel:
    """One kernel as its source declares it."""

    name: str
    file: str
    parameters: tuple[str, ...]
    """Names in order, as the messages say them."""
    letters: str
    """p: pointer, i: long long, f: float, d: double; one letter per parameter."""
    takes_maps: bool
    """Depends on the storage of maps."""
    takes_double: bool
    """Can be compiled for planar arrays of float64."""


@cache
def kernels() -> dict[str, Kernel]:
    """All kernels by name, read from the sources."""
    found: dict[str, Kernel] = {}
    for path in sorted(NATIVE.glob("*.cu")):
        text = path.read_text(encoding="utf-8")
        macros = dict(_MACRO.findall(text))
        for name, declared in _KERNEL.findall(text):
            for macro, meaning in macros.items():
                declared = declared.replace(macro, meaning)
            parameters = [part.strip() for part in declared.split(",")]
            letters = "".join(_letter(parameter) for parameter in parameters)
            names = tuple(re.findall(r"\w+$", parameter)[0] for parameter in parameters)
            kinds = "Element" in text, "Real" in text
            found[name] = Kernel(name, path.stem, names, letters, *kinds)
    return found


def find_kernel(name: str) -> Kernel:
    """Raises BackendError for a name that no source declares."""
    kernel = kernels().get(name)
    if kernel is None:
        raise BackendError(
            f"kernel: unknown (got {name!r}, expected one of {', '.join(kernels())})"
        )
    return kernel


def storage_of(kernel: Kernel, storage: str) -> str:
    """The storage to compile a kernel for: those that take planar arrays are the same for all maps.

    Raises BackendError for a storage that the kernel does not know.
    """
    if storage not in STORAGES:
        raise BackendError(f"storage: got {storage!r}, expected one of {', '.join(STORAGES)}")
    if storage == "fp64":
        if not kernel.takes_double:
            raise BackendError(f"kernel {kernel.name}: is not made for fp64 arrays")
        return storage
    return storage if kernel.takes_maps else "fp32"


def source_text(file: str) -> str:
    """One source file with its headers pasted in: a compiler needs to find nothing else."""
    text = (NATIVE / f"{file}.cu").read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: (NATIVE / found[1]).read_text(encoding="utf-8"), text)


def convert(kernel: Kernel, arguments: tuple[int | float, ...]) -> tuple[np.generic, ...]:
    """Arguments as the C types of the signature; raises BackendError if their number is wrong."""
    if len(arguments) != len(kernel.letters):
        raise BackendError(
            f"kernel {kernel.name}: wrong number of arguments (got {len(arguments)}, expected "
            f"{len(kernel.letters)}: {', '.join(kernel.parameters)})"
        )
    types = (_TYPES[letter] for letter in kernel.letters)
    return tuple(kind(value) for kind, value in zip(types, arguments, strict=True))


def blocks_for(threads: int) -> int:
    """Blocks that hold this many threads; at least one."""
    return max(1, -(-threads // BLOCK))


class CudaKernels:
    """Compiles with NVRTC and launches on CuPy's current stream. Launches may be captured once prepared."""

    def __init__(self) -> None:
        self._functions: dict[tuple[str, str], tuple[Kernel, Any]] = {}
        self._modules: dict[tuple[str, str], Any] = {}

    def launch(self, name: str, storage: str, threads: int, *arguments: int | float) -> None:
        kernel, function = self._functions.get((name, storage)) or self._load(name, storage)
        function((blocks_for(threads),), (BLOCK,), convert(kernel, arguments))

    def prepare(self, storage: str) -> None:
        for kernel in kernels().values():
            if storage != "fp64" or kernel.takes_double:
                self._load(kernel.name, storage)

    def _load(self, name: str, storage: str) -> tuple[Kernel, Any]:
        kernel = find_kernel(name)
        actual = storage_of(kernel, storage)
        module = self._modules.get((kernel.file, actual))
        if module is None:
            module = self._modules[kernel.file, actual] = _compile(kernel.file, actual)
        loaded = self._functions[name, storage] = kernel, module.get_function(f"nst_{name}")
        return loaded


def _compile(file: str, storage: str) -> Any:
    import cupy

    options = (*COMPILE_OPTIONS, f"-DNST_STORAGE={STORAGES[storage]}")
    module = cupy.RawModule(code=source_text(file), options=options, backend="nvrtc")
    try:
        module.compile()
    except cupy.cuda.compiler.CompileException as error:
        raise BackendError(f"kernel file {file}.cu ({storage}): NVRTC failed: {error}") from error
    return module


_TYPES: dict[str, Any] = {"p": np.uint64, "i": np.int64, "f": np.float32, "d": np.float64}


def _letter(parameter: str) -> str:
    if "*" in parameter:
        return "p"
    kind = parameter.split()[-2]
    return {"Index": "i", "float": "f", "double": "d"}[kind]
