"""Finding the compiled library: which one is taken, and what is said when there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nst.backend.cpu import CpuBackend, library
from nst.errors import BackendUnavailable


def test_a_missing_library_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(library, "HERE", tmp_path)
    with pytest.raises(BackendUnavailable, match=r"missing.*Install a wheel.*cmake"):
        CpuBackend()


def test_the_widest_instruction_set_of_this_processor_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NST_CPU_ISA", raising=False)
    loaded = library.load()
    assert loaded.nst_isa() == loaded.nst_best_isa()


def test_the_environment_asks_for_another_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    narrowest = library.installed()[-1]
    monkeypatch.setenv("NST_CPU_ISA", narrowest)
    assert CpuBackend(1).engine.isa == narrowest


def test_an_instruction_set_that_cannot_run_is_refused_with_the_reason() -> None:
    with pytest.raises(BackendUnavailable, match=r"'sse1'.*this processor supports up to"):
        library.load("sse1")


def test_a_damaged_library_is_refused_with_its_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(library, "HERE", tmp_path)
    library.library_path(library.INSTRUCTION_SETS[-1]).write_bytes(b"not a library")
    with pytest.raises(BackendUnavailable, match=r"libnst_cpu_\w+\.so: cannot be loaded"):
        library.load()


def test_a_library_of_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = library.installed()[-1]
    shutil.copy(library.library_path(name), tmp_path)
    monkeypatch.setattr(library, "HERE", tmp_path)
    monkeypatch.setattr(library, "ABI_VERSION", -1)
    with pytest.raises(BackendUnavailable, match="another version"):
        library.load()


def test_a_library_without_one_of_the_functions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(library._CALLS, "nst_of_tomorrow", [])
    with pytest.raises(BackendUnavailable, match=r"another version.*nst_of_tomorrow"):
        library.load()


def test_loading_the_library_keeps_denormals(rng: np.random.Generator) -> None:
    library.load()
    tiny = np.array([1e-40], np.float32)
    assert (tiny * np.float32(0.5))[0] > 0


def test_memory_of_an_array_is_zero_aligned_and_outlives_the_engine() -> None:
    array = CpuBackend(1).engine.array((3, 5))
    assert array.__array_interface__["data"][0] % 64 == 0
    np.testing.assert_array_equal(array, np.zeros((3, 5)))
