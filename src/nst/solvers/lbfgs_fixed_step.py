"""L-BFGS with step 1 and no line search: the rule of ftokarev's Caffe fork and of MyCaffe 0.10.

    s = -d_old, y = g - g_old         kept if s.y >= 1e-10: an absolute test
    H0 = s.y / y.y                    of the newest kept pair
    d = H g                           two-loop recursion
    x -= lr_mult * d

The loss may rise; the first update is the raw gradient. clip_gradients, weight_decay and iter_size are
ignored, as in the originals. In MyCaffe base_lr is a switch: where base_lr * lr_mult is exactly 1 the raw
gradient is subtracted instead of d, while the memory goes on as if it were d (`base_lr_switch`).

With `torch_steps` every update is multiplied by base_lr, and the first by min(1, 1/|g|_1) besides, as
optim.lbfgs of Torch does without a line search.

One departure: if no pair has passed the test yet both originals divide by zero; here d is the gradient.
Source: LBFGSSolver of either; optim/lbfgs.lua of torch/optim.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nst.errors import SnapshotError, UsageError
from nst.io.snapshot import Snapshot
from nst.proto import SolverParameter
from nst.solvers.contract import TrainableNet
from nst.solvers.curvature import CurvaturePairs
from nst.solvers.display import log
from nst.solvers.lbfgs import correction_pairs
from nst.solvers.record import StopReason
from nst.solvers.snapshot import RuleMemory
from nst.solvers.solver import Solver
from nst.solvers.variables import Variables

LEAST_CURVATURE = 1e-10


class FixedStepLBFGS(Solver):
    """What the presets that reproduce the originals use; `LBFGS` is the one for everything else."""

    type = "LBFGS"
    uses_rate = False

    def __init__(
        self,
        param: SolverParameter,
        net: TrainableNet,
        *,
        base_lr_switch: bool = False,
        torch_steps: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(param, net, **options)
        self._variables = Variables(net)
        self._backend = net.backend
        self._g, self._g_old, self._d = (self._variables.vector() for _ in range(3))
        self._pairs = CurvaturePairs(
            correction_pairs(param), self._variables.count, self._g.dtype, net.backend
        )
        self._subtract_gradient = base_lr_switch and param.base_lr == 1.0
        if self._subtract_gradient and any(lr not in (0.0, 1.0) for lr in net.params_lr):
            raise UsageError(
                "base_lr: MyCaffe's switch at base_lr 1 is only kept for lr_mult 0 and 1 "
                f"(got lr_mult {list(net.params_lr)})"
            )
        self._torch_steps = torch_steps
        for name in ("clip_gradients", "weight_decay", "iter_size"):
            if param.HasField(name):
                log.warning("%s is ignored by LBFGS without line search, as in the original", name)

    def _update(self, rate: float) -> StopReason | None:
        self._g, self._g_old = self._g_old, self._g
        self._variables.read_gradient(self._g, scaled=False)
        if self.iter > 0:
            self._remember()
        self._d[...] = self._g
        if len(self._pairs):
            self._pairs.apply(self._d)
        if self._torch_steps:
            self._d *= self._torch_step()
        self._variables.subtract(self._g if self._subtract_gradient else self._d)
        self._project()
        return None

    def _torch_step(self) -> float:
        """base_lr, and the first time no more than base_lr / |g|_1."""
        size = float(self._backend.xp.abs(self._g).sum()) if self.iter == 0 else 0.0
        return float(self.param.base_lr) * (min(1.0, 1.0 / size) if size else 1.0)

    def _remember(self) -> None:
        """Keeps the pair of the last update, if it has curvature."""
        xp = self._backend.xp
        s = xp.negative(self._d, out=self._d)
        y = xp.subtract(self._g, self._g_old, out=self._g_old)
        if not self._pairs.push(s, y, least=LEAST_CURVATURE):
            log.info("Iteration %d, skipping a pair without curvature", self.iter)

    def _memory(self) -> RuleMemory:
        host = self._backend.to_host
        last = {"lbfgs/g": np.array(host(self._g)), "lbfgs/d": np.array(host(self._d))}
        return RuleMemory(named={**self._pairs.memory(), **last})

    def _take_memory(self, snapshot: Snapshot, path: str) -> None:
        for name, target in (("lbfgs/g", self._g), ("lbfgs/d", self._d)):
            source = snapshot.state.get(name)
            if source is None or source.shape != target.shape:
                raise SnapshotError(
                    "no memory of L-BFGS without line search that fits the net (got "
                    f"{name} {None if source is None else source.shape}, expected {target.shape})",
                    path=path,
                )
            target[...] = self._backend.asarray(source, target.dtype)
        self._pairs.take(snapshot.state, path)
