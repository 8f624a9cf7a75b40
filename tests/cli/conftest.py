"""A working folder with a tiny net, its weights, two pictures and a solver file that names them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tiny import picture
from support.workshop import SOLVER, write_tiny_model

from nst.io.picture_output import write_picture


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, made the working folder."""
    write_tiny_model(tmp_path, lambda values: values)
    write_picture(tmp_path / "town.png", picture(36, 48, 1))
    write_picture(tmp_path / "waves.png", picture(30, 20, 2))
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    monkeypatch.chdir(tmp_path)
    return tmp_path
