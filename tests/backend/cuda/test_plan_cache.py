"""The plan cache: what was put is found again, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from nst.backend.cuda.numbers import NumericalNote as Note
from nst.backend.cuda.plan_cache import FOLDER, PlanCache, cache_folder
from nst.backend.cuda.plans import Numerics


def test_a_plan_is_found_by_its_key_and_scope(tmp_path: Path) -> None:
    PlanCache("gpu a", tmp_path / "plans").put("conv", '{"engine": 1}', 1e-3)

    assert PlanCache("gpu a", tmp_path / "plans").get("conv") == '{"engine": 1}'
    assert PlanCache("gpu a", tmp_path / "plans").get("other") is None
    assert PlanCache("gpu b", tmp_path / "plans").get("conv") is None


@pytest.mark.parametrize("content", ["", "[]", '{"key": "another", "plan": "x"}', "\x00"])
def test_a_damaged_file_is_as_good_as_none(content: str, tmp_path: Path) -> None:
    cache = PlanCache("gpu", tmp_path)
    cache.put("conv", "plan", 1e-3)
    (file,) = tmp_path.iterdir()
    file.write_text(content)

    assert cache.get("conv") is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = PlanCache("gpu", tmp_path / "file")

    cache.put("conv", "plan", 1e-3)

    assert cache.get("conv") is None


def test_it_lies_beside_the_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NST_CACHE", str(tmp_path))

    assert cache_folder() == tmp_path / FOLDER


@pytest.mark.parametrize(
    ("tf32", "storage", "notes", "allowed"),
    [
        (False, "fp32", [], True),
        (False, "fp32", [Note.WINOGRAD], True),
        (False, "fp32", [Note.TENSOR_CORE], False),
        (False, "fp32", [Note.DOWN_CONVERT_INPUTS], False),
        (True, "fp32", [Note.TENSOR_CORE], True),
        (True, "fp32", [Note.FFT], False),
        (True, "fp16", [Note.TENSOR_CORE], True),
        (True, "fp16", [Note.TENSOR_CORE, Note.REDUCED_PRECISION_REDUCTION], False),
        (True, "bf16", [Note.NONDETERMINISTIC], False),
    ],
)
def test_engines_are_refused_by_their_notes(
    tf32: bool, storage: str, notes: list[int], allowed: bool
) -> None:
    assert Numerics(tf32).allows(storage, notes) is allowed
