"""The kernels' sources: they compile for every GPU that is supported, and say what they take."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from backend.cuda.compilers import ARCHITECTURES, assembly, compiler_messages
from backend.cuda.kernel_rig import KernelRig

from nst.backend.cuda.kernels import (
    NATIVE,
    STORAGES,
    convert,
    find_kernel,
    kernels,
    source_text,
    storage_of,
)
from nst.errors import BackendError

FILES = sorted(path.stem for path in NATIVE.glob("*.cu"))
ONE = ("fp16", 75)
"""What is compiled in every run; -m slow compiles for the rest, and each file by itself."""
MOST_REGISTERS = 112
"""Per thread: two blocks of 256 and some room fit the 65,536 registers of a multiprocessor."""


def whole_program(storage: str) -> str:
    """All files that a storage type is compiled for, as one source."""
    mine = {kernel.file for kernel in kernels().values() if _known(kernel.name, storage)}
    text, seen = [], set()
    for file in sorted(mine):
        for part in re.split(r'(#include "\w+\.cuh"\n)', (NATIVE / f"{file}.cu").read_text()):
            if not part.startswith("#include"):
                text.append(part)
            elif part not in seen:
                seen.add(part)
                text.append((NATIVE / part.split('"')[1]).read_text())
    return "".join(text)


def _known(name: str, storage: str) -> bool:
    kernel = find_kernel(name)
    return kernel.takes_double if storage == "fp64" else storage_of(kernel, storage) == storage


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_each_file_compiles_by_itself(file: str) -> None:
    assert compiler_messages(source_text(file), "fp16", 90) == ""


EVERY_GPU = [
    pytest.param(
        storage, architecture, marks=() if (storage, architecture) == ONE else pytest.mark.slow
    )
    for storage in STORAGES
    for architecture in ARCHITECTURES
]


@pytest.mark.parametrize(("storage", "architecture"), EVERY_GPU)
def test_all_kernels_compile_for_every_gpu(storage: str, architecture: int) -> None:
    assert compiler_messages(whole_program(storage), storage, architecture) == ""


@pytest.mark.parametrize("storage", ["fp16", pytest.param("fp32", marks=pytest.mark.slow)])
def test_no_kernel_spills_or_keeps_an_array_in_slow_memory(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3] / "tools"))
    from gpu_checks.registers import resources

    nvcc = shutil.which("nvcc") or pytest.skip("needs nvcc to read registers and spills")
    found = {row.kernel: row for row in resources(nvcc, whole_program(storage), storage, 90)}
    assert found.keys() == {name for name in kernels() if _known(name, storage)}
    assert not [name for name, row in found.items() if row.stack or row.spilled]
    assert max(row.registers for row in found.values()) <= MOST_REGISTERS


@pytest.mark.parametrize("file", ["relu", "pooling"])
def test_groups_are_read_and_written_with_128_bit_accesses(file: str) -> None:
    ptx = assembly(source_text(file), "fp16", 90)
    assert re.search(r"ld\.global(\.nc)?\.v4", ptx) and "st.global.v4" in ptx
    assert not re.search(r"\.(ld|st)\.local", ptx)


def test_signatures_are_those_of_the_sources() -> None:
    assert find_kernel("to_map").letters == "ppiiiiif"
    assert find_kernel("to_map").parameters[-1] == "scale"
    assert find_kernel("max_pool").letters == "ppp" + 12 * "i"  # the sizes stand in a macro
    declared = sum(path.read_text().count("NST_KERNEL(") for path in NATIVE.glob("*.cu"))
    assert len(kernels()) == declared


def test_every_kernel_is_launched_by_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert not [name for name in kernels() if f'"{name}"' not in tests]


def test_wrong_launches_are_refused_by_name(rig: KernelRig) -> None:
    with pytest.raises(BackendError, match=r"kernel: unknown \(got 'to_mop'.*to_map"):
        rig.run("to_mop", "fp16", 1)
    with pytest.raises(
        BackendError, match=r"combine: wrong number of arguments \(got 1, expected 10"
    ):
        convert(find_kernel("combine"), (1,))
    with pytest.raises(BackendError, match=r"storage: got 'int8', expected one of fp32"):
        storage_of(find_kernel("relu"), "int8")
    with pytest.raises(BackendError, match="curvature_up: is not made for fp64"):
        storage_of(find_kernel("curvature_up"), "fp64")
