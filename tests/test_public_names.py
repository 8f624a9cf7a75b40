"""The door of the package: what `import nst` offers, and that it opens quickly."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nst


def test_every_listed_name_is_there_and_nothing_else_is_public() -> None:
    listed = {name for name in nst.__all__ if getattr(nst, name) is not None}
    modules = {name for name, value in vars(nst).items() if type(value).__name__ == "module"}
    public = {name for name in vars(nst) if not name.startswith("_")} - modules - {"annotations"}

    assert public == listed


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'nst' has no attribute 'Nett'"):
        _ = nst.Nett  # type: ignore[attr-defined]


def test_all_names_are_told_before_any_is_loaded() -> None:
    code = (
        "import sys, nst; "
        "print(set(nst.__all__) <= set(dir(nst)), 'numpy' in sys.modules, nst.pycaffe.Net is nst.Net)"
    )

    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert out.split() == ["True", "False", "True"]


def test_importing_needs_no_display_plot_or_cuda_library() -> None:
    code = (
        "import sys, nst; [getattr(nst, name) for name in nst.__all__]; "
        "print([m for m in ('rich', 'matplotlib', 'cupy', 'pydot', 'lmdb') if m in sys.modules])"
    )

    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert out.strip() == "[]"


def test_errors_can_be_caught_as_what_they_are_to_python() -> None:
    assert issubclass(nst.PrototxtError, ValueError)
    assert issubclass(nst.FileError, OSError)
    assert issubclass(nst.Diverged, nst.SolverError)
