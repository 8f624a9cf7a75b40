"""Solvers: they change the learnable parameters of a net until its loss is small.

`build_solver` makes the solver that a SolverParameter names. Adding a rule: one file, one line in SOLVERS.
"""

from __future__ import annotations

from typing import Any

from nst.errors import UsageError, did_you_mean
from nst.proto import SolverParameter, StyleTransferParameter
from nst.solvers.adadelta import AdaDelta
from nst.solvers.adagrad import AdaGrad
from nst.solvers.adam import Adam
from nst.solvers.contract import Bounds, TrainableNet, WeightsFiles
from nst.solvers.gradient_rule import GradientRule
from nst.solvers.lbfgs import LBFGS
from nst.solvers.lbfgs_fixed_step import FixedStepLBFGS
from nst.solvers.nesterov import Nesterov
from nst.solvers.record import BestValues, IterationRecord, StopReason
from nst.solvers.rmsprop import RMSProp
from nst.solvers.sgd import SGD
from nst.solvers.snapshot import SnapshotPaths
from nst.solvers.solver import Solver

SOLVERS: tuple[type[Solver], ...] = (SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam, LBFGS)


def solver_class(name: str) -> type[Solver]:
    """The rule of that type, in any case; raises UsageError with the nearest name."""
    known = {rule.type.lower(): rule for rule in SOLVERS}
    if name.lower() not in known:
        names = sorted(rule.type for rule in SOLVERS)
        raise UsageError(
            f"type: Unknown solver type: {name} (got {name!r}, known types: {', '.join(names)})."
            f"{did_you_mean(name, names)}"
        )
    return known[name.lower()]


def build_solver(param: SolverParameter, net: TrainableNet, **options: Any) -> Solver:
    """The solver that `param.type` names; options as in `Solver`.

    LBFGS searches along its direction, unless the style block says `line_search: NONE` or `TORCH`, or names
    the preset `mycaffe` and says nothing else. With that preset base_lr is the switch that it is there.
    """
    rule = solver_class(param.type)
    style = param.style_transfer_param
    is_mycaffe = style.preset.lower() == "mycaffe"
    searches = style.line_search == StyleTransferParameter.STRONG_WOLFE
    if is_mycaffe and not style.HasField("line_search"):
        searches = False
    if rule is LBFGS and not searches:
        torch_steps = style.line_search == StyleTransferParameter.TORCH
        steps = {"base_lr_switch": is_mycaffe and not torch_steps, "torch_steps": torch_steps}
        return FixedStepLBFGS(param, net, **{**steps, **options})
    return rule(param, net, **options)


__all__ = [
    "LBFGS",
    "SGD",
    "SOLVERS",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "BestValues",
    "Bounds",
    "FixedStepLBFGS",
    "GradientRule",
    "IterationRecord",
    "Nesterov",
    "RMSProp",
    "SnapshotPaths",
    "Solver",
    "StopReason",
    "TrainableNet",
    "WeightsFiles",
    "build_solver",
    "solver_class",
]
