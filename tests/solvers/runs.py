"""What the tests of the step loop and of snapshots start from: settings, a small net, weights in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from solvers.objectives import ObjectiveNet, Values, quadratic

from nst.proto import SolverParameter


def param(**settings: Any) -> SolverParameter:
    made = SolverParameter(base_lr=0.1, lr_policy="fixed", max_iter=10, snapshot_after_train=False)
    for name, value in settings.items():
        if isinstance(value, list):
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


def bowl() -> ObjectiveNet:
    return ObjectiveNet(quadratic([1.0, 2.0]), [np.array([1.0, -1.0])])


class Weights:
    """Weights in memory, by path; what a door gives to a solver."""

    def __init__(self) -> None:
        self.saved: dict[str, Values] = {}
        self.with_diff: list[bool] = []

    def save(self, net: ObjectiveNet, path: Any, *, diff: bool) -> None:
        self.saved[str(path)] = net.values
        self.with_diff.append(diff)
        Path(path).touch()

    def load(self, net: ObjectiveNet, path: Any) -> None:
        for blob, value in zip(net.learnable_params, self.saved[str(path)], strict=True):
            blob.data[...] = value
