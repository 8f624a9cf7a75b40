"""Solvers with pycaffe's members, built from a solver.prototxt: nets, test nets, weights and snapshots.

    solver = get_solver("solver.prototxt")
    solver.step(10); solver.net.blobs["loss"].data; solver.test_nets[0]; solver.iter; solver.lr
    solver.solve(); solver.solve("x_iter_100.solverstate"); solver.snapshot(); solver.restore(path)

Files that the solver file names (net, train_net, test_net, weights) are looked for beside it first, then
from the current folder, which is where Caffe looks. snapshot_prefix counts from the current folder, as in
Caffe; without one it is the solver file's own name, and a folder gets that name put into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nst.backend import Backend
from nst.core import TEST, TRAIN
from nst.errors import FileError, UsageError
from nst.io.prototxt import read_net, read_solver
from nst.io.upgrade import upgrade_solver
from nst.proto import NetParameter, NetState, SolverParameter
from nst.pycaffe.mode import choose_backend
from nst.pycaffe.net import Net
from nst.solvers import (
    LBFGS,
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    Nesterov,
    RMSProp,
    Solver,
    build_solver,
)

SolverSource = str | PathLike[str] | SolverParameter

_TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


class NetFiles:
    """The weights files of snapshots, through the net's own reading and writing."""

    def save(self, net: Net, path: str | PathLike[str], *, diff: bool) -> None:
        net.save(path, diff=diff)

    def load(self, net: Net, path: str | PathLike[str]) -> None:
        net.copy_from(path)


@dataclass(frozen=True)
class SolverParts:
    """What a solver file describes, built."""

    param: SolverParameter
    net: Net
    test_nets: list[Net]


def load_parts(
    source: SolverSource,
    *,
    backend: str | Backend = "auto",
    dtype: DTypeLike = np.float32,
    allow_python: bool = False,
) -> SolverParts:
    """Reads a solver file (or takes a message) and builds its nets, with `weights` put into them.

    Raises FileError for files that are missing, UsageError for a wrong number of nets or states, and
    what reading and building nets raises.
    """
    if isinstance(source, SolverParameter):
        param, home = upgrade_solver(source), Path()
    else:
        param, home = read_solver(fspath(source)), Path(source).parent
        param.snapshot_prefix = _snapshot_prefix(param.snapshot_prefix, Path(source))
    options: dict[str, Any] = {
        "backend": choose_backend(backend),
        "dtype": dtype,
        "seed": param.random_seed if param.random_seed >= 0 else None,
        "allow_python": allow_python,
    }
    net = _build(_train_net(param, home), TRAIN, param.train_state, options)
    test_nets = [
        _build(description, TEST, state, options) for description, state in _test_nets(param, home)
    ]
    for path in _weights(param, home):
        for each in (net, *test_nets):
            each.copy_from(path)
    return SolverParts(param, net, test_nets)


def get_solver(source: SolverSource, **options: Any) -> Solver:
    """The solver that a file or message describes, of the type that it names.

    Options: backend (a name or a Backend), dtype, allow_python, as in `Net`.
    """
    parts = load_parts(source, **options)
    return build_solver(parts.param, parts.net, test_nets=parts.test_nets, weights_files=NetFiles())


class _FromFile(Solver):
    """Gives a rule pycaffe's constructor: `SGDSolver("solver.prototxt")`, whatever type the file names."""

    def __init__(self, source: SolverSource, **options: Any) -> None:
        parts = load_parts(source, **options)
        super().__init__(
            parts.param, parts.net, test_nets=parts.test_nets, weights_files=NetFiles()
        )


class SGDSolver(_FromFile, SGD):
    """caffe.SGDSolver."""


class NesterovSolver(_FromFile, Nesterov):
    """caffe.NesterovSolver."""


class AdaGradSolver(_FromFile, AdaGrad):
    """caffe.AdaGradSolver."""


class RMSPropSolver(_FromFile, RMSProp):
    """caffe.RMSPropSolver."""


class AdaDeltaSolver(_FromFile, AdaDelta):
    """caffe.AdaDeltaSolver."""


class AdamSolver(_FromFile, Adam):
    """caffe.AdamSolver."""


class LBFGSSolver(_FromFile, LBFGS):
    """L-BFGS with line search; Caffe's forks have one without."""


# ---- what the file describes ------------------------------------------------------------------------


def _train_net(param: SolverParameter, home: Path) -> NetParameter:
    given = [field for field in _TRAIN_FIELDS if param.HasField(field)]
    if len(given) != 1:
        rule = "must not contain more than one" if given else "must specify a train net using one"
        raise UsageError(
            f"solver: SolverParameter {rule} of these fields: {', '.join(_TRAIN_FIELDS)} "
            f"(got {', '.join(given) or 'none'}, expected exactly one)"
        )
    value = getattr(param, given[0])
    return value if isinstance(value, NetParameter) else read_net(_find(value, home))


def _test_nets(param: SolverParameter, home: Path) -> Iterator[tuple[NetParameter, NetState]]:
    """Descriptions and states of the test nets: test_net_param, test_net, then the general net."""
    nets = list(param.test_net_param) + [read_net(_find(f, home)) for f in param.test_net]
    general = param.HasField("net") or param.HasField("net_param")
    missing = len(param.test_iter) - len(nets)
    if missing < 0 or (missing > 0 and not general):
        raise UsageError(
            "test_iter: test_iter must be specified for each test network. "
            f"(got {len(param.test_iter)} entries, expected {len(nets)})"
        )
    if missing > 0:
        nets += [_train_net(param, home)] * missing
    if param.test_state and len(param.test_state) != len(nets):
        raise UsageError(
            "test_state: test_state must be unspecified or specified once per test net. "
            f"(got {len(param.test_state)}, expected {len(nets)})"
        )
    states = list(param.test_state) or [NetState()] * len(nets)
    return zip(nets, states, strict=True)


def _build(description: NetParameter, phase: int, more: NetState, options: dict[str, Any]) -> Net:
    """A net in the phase, then in what the description and the solver say about its state."""
    state = NetState()
    state.phase = phase  # type: ignore[assignment]  # plain ints are Caffe's own phase constants
    state.MergeFrom(description.state)
    state.MergeFrom(more)
    bare = NetParameter()
    bare.CopyFrom(description)
    bare.ClearField("state")
    return Net(bare, phase=state.phase, level=state.level, stages=list(state.stage), **options)


def _weights(param: SolverParameter, home: Path) -> list[Path]:
    names = [name for entry in param.weights for name in entry.split(",")]
    return [_find(name.strip(), home) for name in names]


def _find(name: str, home: Path) -> Path:
    """A file that the solver names: beside the solver file, else from the current folder."""
    candidates: Sequence[Path] = (home / name, Path(name))
    for path in candidates:
        if path.is_file():
            return path
    places = " and ".join(dict.fromkeys(f"'{path}'" for path in candidates))
    raise FileError(f"Could not open file {name} (looked for {places})", path=name)


def _snapshot_prefix(prefix: str, solver_file: Path) -> str:
    """Caffe's UpgradeSnapshotPrefixProperty: the solver's name where the prefix does not say one."""
    if not prefix:
        return str(solver_file.with_suffix(""))
    return str(Path(prefix) / solver_file.stem) if Path(prefix).is_dir() else prefix
