"""The named presets: one solver file each, kept as the text that `nst presets` prints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nst.errors import UsageError, did_you_mean
from nst.io.prototxt import parse_solver
from nst.proto import SolverParameter

_FOLDER = Path(__file__).parent

DEFAULT_PRESET = "fine"
"""What fills in the objective where neither a solver file nor a model says it: no weight and no layer of it
belongs to a certain net."""


@dataclass(frozen=True)
class Preset:
    """A set of values that fills in what a solver file leaves unset."""

    name: str
    text: str
    """Its solver file, comments included."""

    @property
    def settings(self) -> SolverParameter:
        return parse_solver(self.text, f"preset {self.name}")

    @property
    def bound_to(self) -> tuple[str, ...]:
        """The models that its weights were made for; empty means any."""
        found = re.search(r"^# bound to: ([\w., -]+)", self.text, re.MULTILINE)
        names = found.group(1).split(",") if found else []
        return tuple(name.strip().split()[0] for name in names)


def preset_names() -> list[str]:
    """All presets, alphabetically."""
    return sorted(path.stem for path in _FOLDER.glob("*.prototxt"))


def find_preset(name: str) -> Preset:
    """Returns a preset by name; raises UsageError that lists the known ones."""
    known = preset_names()
    if name not in known:
        raise UsageError(
            f"preset: unknown (got {name!r}, expected one of {', '.join(known)})."
            f"{did_you_mean(name, known)}"
        )
    return Preset(name, (_FOLDER / f"{name}.prototxt").read_text(encoding="utf-8"))
