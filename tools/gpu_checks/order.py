"""The stages in the order in which they run: what decides most comes first, what takes longest last."""

from __future__ import annotations

from collections.abc import Sequence

from gpu_checks.ceilings import ceilings, environment
from gpu_checks.iteration import compiled, iteration
from gpu_checks.kernel_rates import kernel_rates
from gpu_checks.layer_table import layer_table
from gpu_checks.painting import default_job, first_picture, memory, painting
from gpu_checks.parity import determinism, gradient, recorded
from gpu_checks.stages import Stage
from gpu_checks.suites import suites

STAGES = {
    stage.name: stage
    for stage in (
        Stage("environment", "what this runs on", 60, environment),
        Stage("gradient", "the whole gradient against float64", 60, gradient),
        Stage("ceilings", "matrix product and copy", 25, ceilings),
        Stage("iteration_512", "whole iterations against PyTorch", 60, iteration(512)),
        Stage("iteration_1024", "whole iterations against PyTorch", 60, iteration(1024)),
        Stage("painting", "200 iterations, and where they end", 60, painting),
        Stage("default_job", "the default job as users run it", 60, default_job),
        Stage("determinism", "the same bits twice", 45, determinism),
        Stage("recorded", "captured against eager", 45, recorded),
        Stage("kernel_rates", "our kernels against the copy rate", 30, kernel_rates),
        Stage("memory", "bytes per pixel", 40, memory),
        Stage("suites", "kernels, operations and layers", 120, suites),
        Stage("first_picture", "from nothing to the first iteration", 90, first_picture),
        Stage("iteration_256", "whole iterations against PyTorch", 40, iteration(256)),
        Stage("iteration_2048", "whole iterations against PyTorch", 60, iteration(2048)),
        Stage("compiled_512", "against torch.compile", 90, compiled(512)),
        Stage("compiled_1024", "against torch.compile", 90, compiled(1024)),
        Stage("layer_table", "each convolution by itself", 90, layer_table),
    )
}

QUICK = (
    "environment",
    "gradient",
    "iteration_512",
    "iteration_1024",
    "painting",
    "default_job",
    "ceilings",
    "determinism",
    "recorded",
    "kernel_rates",
    "compiled_512",
    "memory",
    "layer_table",
)
"""With --quick."""


def chosen(only: Sequence[str], *, quick: bool) -> list[Stage]:
    """The stages to run, in order."""
    names = only or (QUICK if quick else tuple(STAGES))
    return [STAGES[name] for name in names]
