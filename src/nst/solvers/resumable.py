"""Resumable: the part of a solver that can be saved and brought back.

What a run needs to go on bit for bit: the weights (in a file of their own), the iteration, the step of the
rate policy, the memory of the rule, and the state of the net's random generator. Order of batches is the
data layers' own and is not saved, as in Caffe.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from os import PathLike, fspath

from nst.errors import SolverError
from nst.io.snapshot import Snapshot, read_snapshot, write_snapshot
from nst.proto import SolverParameter
from nst.solvers.contract import TrainableNet, WeightsFiles
from nst.solvers.display import log
from nst.solvers.lr_policy import LearningRate
from nst.solvers.snapshot import RuleMemory, SnapshotPaths, check_writable, weights_of


class Resumable(ABC):
    """Snapshots of a solver; see `Solver` for the arguments."""

    def __init__(
        self,
        param: SolverParameter,
        net: TrainableNet,
        weights_files: WeightsFiles | None,
        policy: LearningRate | None,
    ) -> None:
        self.param = SolverParameter()
        self.param.CopyFrom(param)
        self.net = net
        self.iter = 0
        self.size_index = 0
        """Where a run over several sizes stands: not used here, but written into snapshots."""
        self._policy = policy
        self._weights_files = weights_files
        self._last_snapshot = -1

    def snapshot(self) -> SnapshotPaths:
        """Writes `<prefix>_iter_<N>` weights and solver state; returns their paths."""
        paths = SnapshotPaths.of(self.param, self.iter)
        kind = "HDF5" if paths.weights.suffix == ".h5" else "binary proto"
        log.info("Snapshotting to %s file %s", kind, paths.weights)
        self._files().save(self.net, paths.weights, diff=self.param.snapshot_diff)
        log.info("Snapshotting solver state to %s file %s", kind, paths.state)
        write_snapshot(paths.state, self.state(str(paths.weights)))
        self._last_snapshot = self.iter
        return paths

    def restore(self, path: str | PathLike[str]) -> None:
        """Continues from a solver state file: the weights that it names, then the rule's memory."""
        snapshot = read_snapshot(path)
        weights = weights_of(snapshot, path)
        self.restore_state(snapshot, fspath(path))
        if weights is not None:
            self._files().load(self.net, weights)
        log.info("Restored iteration %d from %s", self.iter, fspath(path))

    @property
    def current_step(self) -> int:
        """How often a rate that falls in steps has fallen."""
        return self._policy.current_step if self._policy else 0

    def state(self, learned_net: str = "") -> Snapshot:
        """Where the optimisation stands; the weights themselves are not in it."""
        memory = self._memory()
        return Snapshot(
            iteration=self.iter,
            learned_net=learned_net,
            history=memory.history,
            current_step=self.current_step,
            state=memory.named,
            rng_state=self.net.rng.state(),
            size_index=self.size_index,
        )

    def restore_state(self, snapshot: Snapshot, path: str = "") -> None:
        """Takes back what `state` gave; raises SnapshotError if it belongs to another net or rule."""
        self._take_memory(snapshot, path)
        self.iter = snapshot.iteration
        if self._policy:
            self._policy.current_step = snapshot.current_step
        if snapshot.rng_state:
            self.net.rng.restore(snapshot.rng_state)

    @abstractmethod
    def _memory(self) -> RuleMemory:
        """Copies of what the rule remembers."""

    @abstractmethod
    def _take_memory(self, snapshot: Snapshot, path: str) -> None:
        """Checks and takes back what `_memory` gave."""

    def _check_snapshots(self) -> None:
        """Finds out now, not after hours, that snapshots cannot be written."""
        check_writable(SnapshotPaths.of(self.param, self.iter).weights)
        self._files()

    def _files(self) -> WeightsFiles:
        if self._weights_files is None:
            raise SolverError(
                "snapshot: this solver was given no way to read and write weights "
                "(got weights_files=None)",
                iteration=self.iter,
            )
        return self._weights_files
