"""Learning rate policies: the rate of an iteration, as Caffe's SGDSolver::GetLearningRate computes it.

fixed      base_lr
step       base_lr * gamma ^ floor(iter / stepsize)
exp        base_lr * gamma ^ iter
inv        base_lr * (1 + gamma * iter) ^ -power
multistep  base_lr * gamma ^ (number of stepvalues passed)
poly       base_lr * (1 - iter / max_iter) ^ power
sigmoid    base_lr / (1 + exp(-gamma * (iter - stepsize)))     rises, since gamma >= 0
"""

from __future__ import annotations

import math

from nst.errors import UsageError, did_you_mean
from nst.proto import SolverParameter

POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")


class LearningRate:
    """The policy of one solver. `current_step` counts the drops of step and multistep, for snapshots."""

    def __init__(self, param: SolverParameter) -> None:
        self._param = param
        self.current_step = 0
        policy = param.lr_policy
        if policy not in POLICIES:
            known = ", ".join(POLICIES)
            raise UsageError(
                f"lr_policy: Unknown learning rate policy: {policy} "
                f"(got {policy!r}, expected one of {known}).{did_you_mean(policy, POLICIES)}"
            )
        if policy in ("step", "sigmoid") and param.stepsize <= 0:
            raise UsageError(
                f"stepsize: lr_policy '{policy}' needs one (got {param.stepsize}, expected > 0)"
            )
        if policy == "sigmoid" and param.gamma < 0:
            raise UsageError(
                f"gamma: lr_policy 'sigmoid' rises (got {param.gamma!r}, expected >= 0)"
            )
        if policy == "poly" and param.max_iter <= 0:
            raise UsageError(
                f"max_iter: lr_policy 'poly' ends there (got {param.max_iter}, expected > 0)"
            )

    def advance(self, iteration: int) -> float:
        """The rate for an iteration that is about to be made; multistep takes at most one drop per call."""
        self.current_step = self._step_at(iteration)
        return self._rate(iteration, self.current_step)

    def peek(self, iteration: int) -> float:
        """The rate that `advance` would return, without advancing."""
        return self._rate(iteration, self._step_at(iteration))

    def _step_at(self, iteration: int) -> int:
        param = self._param
        if param.lr_policy == "step":
            return iteration // int(param.stepsize)
        drops = self.current_step
        if param.lr_policy == "multistep" and drops < len(param.stepvalue):
            drops += iteration >= param.stepvalue[drops]
        return drops

    def _rate(self, iteration: int, drops: int) -> float:
        param = self._param
        match param.lr_policy:
            case "step" | "multistep":
                factor = param.gamma**drops
            case "exp":
                factor = param.gamma**iteration
            case "inv":
                factor = (1.0 + param.gamma * iteration) ** -param.power
            case "poly":
                # Past max_iter Caffe's power of a negative number is NaN; the rate stays 0 here.
                factor = max(0.0, 1.0 - iteration / param.max_iter) ** param.power
            case "sigmoid":
                factor = 1.0 / (1.0 + math.exp(-param.gamma * (iteration - param.stepsize)))
            case _:
                factor = 1.0
        return float(param.base_lr * factor)
