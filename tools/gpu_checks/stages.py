"""Stages: what is checked, in which order, and how long each may take.

A stage is a function that writes rows; it runs in a process of its own, so that a fault of the GPU, a hang
or an exception ends that stage only. Rows are written to a file as they come: a stage that is stopped keeps
those it has.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

Row = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
PROGRESS_SECONDS = 3.0
"""How often the report takes in what a running stage has written."""
ERROR_LINES = 40
"""How much of the end of a failed stage's messages is kept."""


@dataclass(frozen=True)
class Scale:
    """How large the checks are."""

    dry: bool
    """On the processor that stands in for a GPU, at sizes that prove nothing but that the tool runs."""
    precisions: tuple[str, ...] = ("fp32", "tf32", "fp16", "bf16")
    rounds: int = 7
    """Of interleaved measurements."""
    iterations: int = 200
    """Of the painting that is timed as a whole."""

    def size(self, pixels: int) -> int:
        """A picture's side: as asked, or tiny in a dry run."""
        return 32 if self.dry else pixels

    def count(self, elements: int) -> int:
        """Of a large array."""
        return min(elements, 1 << 12) if self.dry else elements


DRY = Scale(True, precisions=("fp32", "fp16"), rounds=2, iterations=3)


class Rows:
    """Where a stage writes: one JSON object per line, at once."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, **values: Any) -> None:
        self._file.write(json.dumps(values, default=float) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        print(
            "  ", "  ".join(f"{key} {_short(value)}" for key, value in values.items()), flush=True
        )


@dataclass(frozen=True)
class Stage:
    """One check."""

    name: str
    title: str
    budget: float
    """Seconds after which it is stopped."""
    run: Callable[[Scale, Rows], None]


@dataclass
class Outcome:
    """What became of a stage."""

    status: str
    """running, ok, failed, stopped (over its budget) or left out (no time left)."""
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    error: str = ""


Progress = Callable[[Outcome], None]


def run_isolated(
    stage: Stage, command: Sequence[str], folder: Path, seconds: float, progress: Progress
) -> Outcome:
    """Runs `command` (this tool with --stage) in a process of its own for at most `seconds`.

    It writes its rows to `folder`/<name>.jsonl and what it says to `folder`/<name>.log; `progress` hears of
    new rows while it runs.
    """
    rows, log = folder / f"{stage.name}.jsonl", folder / f"{stage.name}.log"
    begin = time.monotonic()
    with log.open("w") as messages:
        process = subprocess.Popen(
            [sys.executable, *command, "--stage", stage.name, "--rows", str(rows)],
            stderr=messages,
            start_new_session=True,  # so that what it starts ends with it
            cwd=ROOT,
        )
        code = _wait(process, begin + seconds, lambda: progress(_so_far("running", begin, rows)))
    status = "stopped" if code is None else "failed" if code else "ok"
    outcome = _so_far(status, begin, rows)
    if status != "ok":
        lines = log.read_text(errors="replace").splitlines()
        outcome.error = "\n".join(lines[-ERROR_LINES:])
    return outcome


def _wait(process: subprocess.Popen[bytes], until: float, tell: Callable[[], None]) -> int | None:
    """The exit status; None for a process that had to be stopped."""
    while time.monotonic() < until:
        try:
            return process.wait(timeout=min(PROGRESS_SECONDS, max(0.1, until - time.monotonic())))
        except subprocess.TimeoutExpired:
            tell()
    os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may hold it longer
        process.wait(timeout=10)
    return None


def _so_far(status: str, begin: float, rows: Path) -> Outcome:
    return Outcome(status, time.monotonic() - begin, read_rows(rows))


def read_rows(path: Path) -> list[Row]:
    """All whole rows; the last may be cut off."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
