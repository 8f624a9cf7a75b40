"""Snapshots: the file names of a run, and checks of what comes back out of them.

<prefix>_iter_<N>.caffemodel[.h5]    weights, written by the door's `WeightsFiles`
<prefix>_iter_<N>.solverstate[.h5]   iteration, rate step, memory of the rule, random generator
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nst.core.shapes import Shape
from nst.errors import SnapshotError, UsageError
from nst.io.snapshot import Snapshot
from nst.proto import SolverParameter


@dataclass(frozen=True)
class RuleMemory:
    """What an update rule remembers between iterations, as arrays on the host.

    `history` has Caffe's layout: one array per learnable parameter, or two blocks of them. `named` holds
    what Caffe's solver states have no place for.
    """

    history: Sequence[NDArray[Any]] = ()
    named: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class SnapshotPaths:
    """Where one snapshot goes."""

    weights: Path
    state: Path

    @classmethod
    def of(cls, param: SolverParameter, iteration: int) -> SnapshotPaths:
        """The files of a snapshot; raises UsageError without a snapshot_prefix."""
        if not param.snapshot_prefix:
            raise UsageError(
                "snapshot_prefix: a snapshot needs a place to go (got '', expected a path)"
            )
        suffix = ".h5" if param.snapshot_format == SolverParameter.HDF5 else ""
        stem = f"{param.snapshot_prefix}_iter_{iteration}"
        return cls(Path(f"{stem}.caffemodel{suffix}"), Path(f"{stem}.solverstate{suffix}"))


def check_writable(path: Path) -> None:
    """Raises UsageError if the file could not be made; folders on the way may be missing."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(
            f"snapshot_prefix: Cannot write to snapshot prefix, as in '{path}' "
            f"(got folder '{folder}', expected one that can be written)"
        )


def weights_of(snapshot: Snapshot, path: str | os.PathLike[str]) -> Path | None:
    """The weights file that a state names: as written, else beside the state; None if it names none.

    Raises SnapshotError if it is in neither place.
    """
    if not snapshot.learned_net:
        return None
    named = Path(snapshot.learned_net)
    beside = Path(path).parent / named.name
    for candidate in (named, beside):
        if candidate.is_file():
            return candidate
    raise SnapshotError(
        f"the weights of this state are missing (got learned_net '{named}', "
        f"expected that file or '{beside}')",
        path=os.fspath(path),
    )


def check_history(snapshot: Snapshot, shapes: Sequence[Shape], path: str) -> None:
    """Raises SnapshotError unless the history has an array of each shape, in this order.

    Leading axes of size 1 do not count: old states have legacy four-axis shapes.
    """
    if len(snapshot.history) != len(shapes):
        raise SnapshotError(
            f"Incorrect length of history blobs (got {len(snapshot.history)}, "
            f"expected {len(shapes)}). Is it the state of another net or solver type?",
            path=path,
        )
    for number, (array, shape) in enumerate(zip(snapshot.history, shapes, strict=True)):
        if array.shape != (1,) * (array.ndim - len(shape)) + tuple(shape):
            raise SnapshotError(
                f"history blob {number} does not fit the net (got shape {array.shape}, "
                f"expected {tuple(shape)})",
                path=path,
            )
