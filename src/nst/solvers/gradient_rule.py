"""What the first-order rules share: clipping, the mean over iter_size, weight decay, then the rule.

    clip         g *= clip / |g|   if the norm over all diffs is larger (before the division, as in Caffe)
    normalise    g /= iter_size
    regularise   L2: g += decay * w     L1: g += decay * sign(w)
    rule         g becomes the step, for the local rate = rate * lr_mult
    update       w -= g, then into the bounds

Frozen parameters (lr_mult 0) are left out: they have no diff, and their memory stays zero.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from nst.backend import Array
from nst.core.blob import Blob
from nst.errors import UsageError
from nst.io.snapshot import Snapshot
from nst.proto import SolverParameter
from nst.solvers.contract import TrainableNet
from nst.solvers.record import IterationRecord, StopReason
from nst.solvers.snapshot import RuleMemory, check_history
from nst.solvers.solver import Solver


class GradientRule(Solver):
    """Base of the rules that make a step from one gradient. Source: Caffe's SGDSolver."""

    moments: ClassVar[int] = 1
    """How many arrays of a parameter's shape the rule remembers per parameter."""
    momentum_refused: ClassVar[bool] = False

    def __init__(self, param: SolverParameter, net: TrainableNet, **options: Any) -> None:
        super().__init__(param, net, **options)
        if self.momentum_refused and param.momentum != 0:
            raise UsageError(
                f"momentum: Momentum cannot be used with {self.type}. "
                f"(got {param.momentum:.6g}, expected 0)"
            )
        if param.regularization_type not in ("L1", "L2"):
            raise UsageError(
                "regularization_type: Unknown regularization type: "
                f"{param.regularization_type} (got {param.regularization_type!r}, expected L1 or L2)"
            )
        self.history: list[list[Array]] = [
            [blob.backend.zeros(blob.shape, blob.dtype) for blob in self._active]
            for _ in range(self.moments)
        ]
        """`history[k][i]`: moment k of the i-th parameter that is not frozen."""
        self._gradient_norm: float | None = None

    @abstractmethod
    def _step(self, data: Array, diff: Array, history: list[Array], rate: float) -> None:
        """Turns the gradient in `diff` into a step and subtracts it from `data`; updates the memory."""

    def _update(self, rate: float) -> StopReason | None:
        net = self.net
        self._clip()
        multipliers = [
            (lr, decay)
            for lr, decay in zip(net.params_lr, net.params_weight_decay, strict=True)
            if lr != 0
        ]
        for blob, (lr, decay), *memory in zip(
            self._active, multipliers, *self.history, strict=True
        ):
            if self.param.iter_size > 1:
                blob.diff[...] *= 1.0 / self.param.iter_size
            self._regularise(blob, self.param.weight_decay * decay)
            self._step(blob.data, blob.diff, memory, rate * lr)
        self._project()
        return None

    def _clip(self) -> None:
        limit = self.param.clip_gradients
        if limit < 0:
            return
        diffs = [blob.diff for blob in self.net.learnable_params if blob.has_diff]
        norm = math.sqrt(sum(self.net.backend.dot(diff, diff) for diff in diffs))
        self._gradient_norm = norm / self.param.iter_size
        if norm > limit:
            for diff in diffs:
                diff *= limit / norm

    def _regularise(self, blob: Blob, decay: float) -> None:
        if decay == 0:
            return
        if self.param.regularization_type == "L2":
            self.net.backend.axpy(decay, blob.data, blob.diff)
        else:
            self.net.backend.axpy(decay, self.net.backend.xp.sign(blob.data), blob.diff)

    def _record(self, loss: float, rate: float) -> IterationRecord:
        return IterationRecord(
            self.iter,
            loss,
            self._smoothed.value,
            self.net.loss_terms(),
            rate,
            self.evaluations,
            self._gradient_norm,
        )

    def _memory(self) -> RuleMemory:
        return RuleMemory(self.remembered())

    def remembered(self, into: Sequence[Array] = ()) -> list[Array]:
        """Copies on the host, as Caffe's states have them: per moment one for every learnable parameter.

        Frozen ones have never moved. into: what an earlier call returned, to be written anew.
        """
        arrays: list[Array] = []
        for row in self.history:
            moving = iter(row)
            for blob, lr in zip(self.net.learnable_params, self.net.params_lr, strict=True):
                known = into[len(arrays)] if into else None
                if lr != 0:
                    arrays.append(self.net.backend.copy_to_host(next(moving), known))
                else:
                    arrays.append(np.zeros(blob.shape, blob.dtype) if known is None else known)
        return arrays

    def _take_memory(self, snapshot: Snapshot, path: str) -> None:
        params, rates = self.net.learnable_params, self.net.params_lr
        check_history(snapshot, [blob.shape for blob in params] * self.moments, path)
        stored = zip(snapshot.history, list(rates) * self.moments, strict=True)
        sources = [array for array, lr in stored if lr != 0]
        targets = [array for row in self.history for array in row]
        for target, source in zip(targets, sources, strict=True):
            target[...] = self.net.backend.asarray(source.reshape(target.shape), target.dtype)
