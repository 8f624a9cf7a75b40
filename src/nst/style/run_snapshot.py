"""Snapshots of a style run: one sealed file that holds all that the rest of the run depends on.

    picture, solver state, random generator, place in the sizes, last good picture of the divergence guard,
    what decides the numbers (`identity`), and the records of all iterations so far

The file is a solver state in HDF5 (`nst.io.snapshot`) whose named arrays are those listed in `_NAMES`. A
new snapshot takes the place of the old one only when it is whole and on the disk.
"""

from __future__ import annotations

import dataclasses
import glob
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.errors import FileError, SnapshotError, UsageError
from nst.io.files import FilePath
from nst.io.snapshot import Snapshot, read_sealed_snapshot, write_sealed_snapshot
from nst.style.identity import Identity, differences, fingerprint
from nst.style.progress import Progress, Recovery
from nst.style.recovery import GoodPoint
from nst.style.run_records import records_from_arrays, records_to_arrays
from nst.style.schedule import Stage

log = logging.getLogger("nst.style")

Array = NDArray[Any]

SNAPSHOT_SECONDS = 300.0
"""How much work may be lost at most where no interval of iterations is given."""

_RUN, _PICTURE, _GOOD, _AVERAGE = "run/json", "run/picture", "good/", "run/average"


@dataclass(frozen=True, eq=False)
class RunSnapshot:
    """Where a run stands after an iteration."""

    solver: Snapshot
    """Iteration at this size, memory of the rule, random generator, index of the size."""
    picture: Array
    """(1, C, H, W), as the net sees it."""
    evaluations: int
    rate_factor: float
    identity: Identity
    stages: tuple[Stage, ...]
    history: tuple[Progress, ...] = ()
    recoveries: tuple[Recovery, ...] = ()
    good: GoodPoint | None = None
    is_good_pending: bool = False
    """Whether this very state waits for its loss to become the guard's good point."""
    average: Array | None = None
    """Weighted sum of the pictures so far that `average_...` asks for."""
    average_count: float = 0.0

    @property
    def stage(self) -> int:
        return self.solver.size_index

    @property
    def elapsed_s(self) -> float:
        return self.history[-1].elapsed_s if self.history else 0.0

    def check(self, identity: Identity, stages: Sequence[Stage], path: str) -> None:
        """Raises UsageError, naming what differs, unless the run that is to go on is the one that stopped.

        Sizes to come may be other ones, and the present one may get another number of iterations, as long
        as no learning rate depends on it.
        """
        found = differences(self.identity, identity)
        done = [*self.stages[: self.stage], Stage(self.stages[self.stage].size, 0)]
        now = [*stages[: self.stage], *(Stage(s.size, 0) for s in stages[self.stage :][:1])]
        if done != now:
            found.append(f"sizes and iterations (were {_text(self.stages)}, are {_text(stages)})")
        elif stages[self.stage].iterations < self.solver.iteration:
            found.append(
                f"iterations (got {stages[self.stage].iterations}, expected at least the "
                f"{self.solver.iteration} done)"
            )
        elif stages[self.stage] != self.stages[self.stage]:
            found += self._bound_to_iterations(identity, stages[self.stage].iterations)
        if found:
            raise UsageError(f"{path}: the run was another one; what differs: {'; '.join(found)}")

    def _bound_to_iterations(self, identity: Identity, iterations: int) -> list[str]:
        """What would have gone differently so far if this size had had that many iterations."""
        found = []
        if identity.get("lr_policy") == "poly":
            found.append("iterations, on which lr_policy poly depends")
        averaged = int(identity.get("style_transfer_param.average_iterates", "0"))
        if averaged and self.solver.iteration > iterations - averaged:
            found.append("iterations, of which the last are averaged: they are in part over")
        return found


def _text(stages: Sequence[Stage]) -> str:
    return ", ".join(f"{stage.iterations} at {stage.size}" for stage in stages)


@dataclass
class SnapshotFile:
    """The snapshot of one run: where, and how often.

    `every` iterations, or at least every `seconds`; 0 of both writes only when the run is stopped or fails.
    """

    path: Path
    every: int = 0
    seconds: float = SNAPSHOT_SECONDS
    problem: str = ""
    """Why the last attempt failed; empty if it did not."""
    _last: float = dataclasses.field(default_factory=time.monotonic)

    def is_due(self, done: int) -> bool:
        """Whether the iteration that was just finished, counted over all sizes, ends in a snapshot."""
        if self.every:
            return done % self.every == 0
        return self.seconds > 0 and time.monotonic() - self._last >= self.seconds

    def write(self, snapshot: RunSnapshot) -> None:
        """Replaces the file. One that cannot be written does not end the run: `problem` and the log say it.

        The snapshot before stays as it was.
        """
        self._last = time.monotonic()
        self._remove_leftovers()
        try:
            write_run_snapshot(self.path, snapshot)
            self.problem = ""
        except FileError as error:
            self.problem = str(error)
            log.warning("the snapshot could not be written, the run goes on: %s", error)

    def discard(self) -> None:
        """Removes the file, once the run is done and its picture is safe."""
        self._remove_leftovers()
        self.path.unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Removes what a run that was killed while it wrote left behind: it can be as large as a snapshot."""
        for path in self.path.parent.glob(f".{glob.escape(self.path.name)}.????????"):
            path.unlink(missing_ok=True)


def snapshot_path(output: Path) -> Path:
    """Where the snapshot of a run lies by default: `out.png` has `out.snapshot` beside it."""
    return output.with_name(f"{output.stem}.snapshot")


def write_run_snapshot(path: FilePath, run: RunSnapshot) -> None:
    """Writes a snapshot, whole or not at all. Errors: FileError."""
    named = {f"solver/{name}": array for name, array in run.solver.state.items()}
    named[_PICTURE] = run.picture
    named[_RUN] = _packed(
        {
            "evaluations": run.evaluations,
            "rate_factor": run.rate_factor,
            "identity": dict(run.identity),
            "stages": [dataclasses.astuple(stage) for stage in run.stages],
            "recoveries": [dataclasses.asdict(recovery) for recovery in run.recoveries],
            "is_good_pending": run.is_good_pending,
            "average_count": run.average_count,
            "good": None if run.good is None else run.good.numbers(),
        }
    )
    named.update(records_to_arrays(run.history))
    if run.good is not None:
        named.update({f"{_GOOD}{name}": array for name, array in run.good.arrays().items()})
    if run.average is not None:
        named[_AVERAGE] = run.average
    options_hash = fingerprint(run.identity)
    write_sealed_snapshot(
        path, dataclasses.replace(run.solver, state=named, options_hash=options_hash)
    )


def read_run_snapshot(path: FilePath) -> RunSnapshot:
    """Reads a snapshot; raises SnapshotError, in one line, if it is damaged, cut short or no such file."""
    stored = read_sealed_snapshot(path)
    try:
        return _from_stored(stored)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise SnapshotError(
            f"no snapshot of a style run of this version ({error!r})", path=os.fspath(path)
        ) from error


def _from_stored(stored: Snapshot) -> RunSnapshot:
    values = json.loads(np.asarray(stored.state[_RUN], np.uint8).tobytes())
    solver_state = _below("solver/", stored.state)
    good = values["good"]
    return RunSnapshot(
        solver=dataclasses.replace(stored, state=solver_state, options_hash=""),
        picture=stored.state[_PICTURE],
        evaluations=int(values["evaluations"]),
        rate_factor=float(values["rate_factor"]),
        identity={str(name): str(value) for name, value in values["identity"].items()},
        stages=tuple(Stage(*pair) for pair in values["stages"]),
        history=records_from_arrays(stored.state),
        recoveries=tuple(Recovery(**entry) for entry in values["recoveries"]),
        good=None if good is None else GoodPoint.of(good, _below(_GOOD, stored.state)),
        is_good_pending=bool(values["is_good_pending"]),
        average=stored.state.get(_AVERAGE),
        average_count=float(values["average_count"]),
    )


def _below(prefix: str, state: Mapping[str, Array]) -> dict[str, Array]:
    return {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }


def _packed(values: Mapping[str, Any]) -> Array:
    return np.frombuffer(json.dumps(values).encode(), np.uint8)
