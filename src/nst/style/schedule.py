"""The sizes of a run, coarse to fine, and how many iterations each gets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nst.errors import UsageError
from nst.proto import SolverParameter

DEFAULT_SIZE = 512
"""Longest side in pixels when nothing is said and the content picture is at least that large."""

SMALLEST_SIDE = 16
"""Below this VGG's fifth pooling leaves nothing to compare."""


@dataclass(frozen=True)
class Stage:
    """One size of the schedule: longest side in pixels, and iterations there."""

    size: int
    iterations: int


def read_schedule(settings: SolverParameter, own_size: int) -> tuple[Stage, ...]:
    """Stages of a run, from `sizes` or `size` (with `coarsest_size`), and `iterations` or `max_iter`.

    Without a list of sizes the last of `iterations` holds for all further sizes.

    own_size: longest side of the picture that gives the shape; without any size in the settings the
    result gets it, but at most DEFAULT_SIZE. Raises UsageError.
    """
    style = settings.style_transfer_param
    size = style.size if style.HasField("size") else min(own_size, DEFAULT_SIZE)
    sizes = list(style.sizes) or _ladder(style.coarsest_size, size)
    if any(size < SMALLEST_SIDE for size in sizes):
        raise UsageError(f"size: too small (got {min(sizes)}, expected at least {SMALLEST_SIDE})")
    if sizes != sorted(sizes):
        raise UsageError(f"sizes: must rise from coarse to fine (got {sizes})")
    counts = list(style.iterations) or [settings.max_iter]
    if not style.sizes or len(counts) == 1:  # the last entry is for all further sizes
        counts = (counts + counts[-1:] * len(sizes))[: len(sizes)]
    if len(counts) != len(sizes):
        raise UsageError(
            f"iterations: one for all sizes or one per size (got {len(counts)}, expected {len(sizes)})"
        )
    if any(count < 1 for count in counts):
        raise UsageError(f"max_iter: no iterations to run (got {min(counts)}, expected at least 1)")
    return tuple(Stage(size, count) for size, count in zip(sizes, counts, strict=True))


def _ladder(coarsest: int, size: int) -> list[int]:
    """From about `coarsest` to `size`, in steps of sqrt(2) counted down from `size`."""
    if coarsest < 1 or size < coarsest:
        return [size]
    steps = math.floor(2 * math.log2(size / coarsest) + 1e-9)
    return [round(size / 2 ** (step / 2)) for step in range(steps, -1, -1)]
