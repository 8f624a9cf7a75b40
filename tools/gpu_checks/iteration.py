"""The whole iteration against PyTorch: one run of each contender in turn, medians and paired ratios."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median

from gpu_checks.engine import wall_seconds
from gpu_checks.runs import Run, our_run
from gpu_checks.stages import Rows, Scale

ROUND_SECONDS = 0.15
"""What one contender runs for in one round, about."""
PEERS = ("fp16", "tf32", "fp32")
COMPILED = ("fp16+compile", "tf32+compile", "fp16+compile+graphs")
Make = Callable[[], Run]
Makers = Mapping[str, Make]


def iteration(size: int) -> Callable[[Scale, Rows], None]:
    """A stage: every precision of ours against PyTorch's eager ones."""

    def run(scale: Scale, rows: Rows) -> None:
        side = scale.size(size)
        compare(
            scale,
            rows,
            size,
            {**_ours(scale, scale.precisions, side), **_peers(scale, PEERS, side)},
        )

    return run


def compiled(size: int) -> Callable[[Scale, Rows], None]:
    """A stage: our fastest against torch.compile, which takes its time to compile."""

    def run(scale: Scale, rows: Rows) -> None:
        side = scale.size(size)
        ours = _ours(scale, ("fp16", "tf32"), side)
        compare(scale, rows, size, {**ours, **_peers(scale, COMPILED, side)})

    return run


def compare(scale: Scale, rows: Rows, size: int, makers: Makers) -> None:
    """Builds the contenders that can be built, runs them in turn, and writes seconds per iteration."""
    built = {name: _built(name, make, rows, size) for name, make in makers.items()}
    runs = {name: run for name, run in built.items() if run is not None}
    counts = {name: _steps(run, scale) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(scale.rounds):
        for name, run in runs.items():
            work = partial(run.step, counts[name])
            seconds[name].append(wall_seconds(run.wait, work) / counts[name])
    for name, times in seconds.items():
        rows.add(size=size, contender=name, ms=1e3 * median(times), seconds=times)


def _built(name: str, make: Make, rows: Rows, size: int) -> Run | None:
    """A contender that has made its first steps; one that cannot is reported and left out."""
    try:
        run = make()
        run.step(3)
        run.wait()
    except Exception as error:  # whatever it is, the others go on
        rows.add(size=size, contender=name, error=f"{type(error).__name__}: {error}"[:500])
        traceback.print_exc()
        return None
    return run


def _steps(run: Run, scale: Scale) -> int:
    """Iterations per round."""
    if scale.dry:
        return 1
    once = min(wall_seconds(run.wait, partial(run.step, 3)) / 3 for _ in range(2))
    return max(1, min(200, round(ROUND_SECONDS / once)))


def _ours(scale: Scale, precisions: Sequence[str], side: int) -> Makers:
    return {f"nst {name}": partial(our_run, scale, name, side) for name in precisions}


def _peers(scale: Scale, kinds: Sequence[str], side: int) -> Makers:
    """A dry run's PyTorch has no half precision and compiles nothing."""

    def make(kind: str) -> Run:
        from gpu_checks.torch_runs import torch_run

        return torch_run(kind, side, "cpu" if scale.dry else "cuda")

    wanted = [kind for kind in kinds if not (scale.dry and ("fp16" in kind or "+" in kind))]
    return {f"torch {kind}": partial(make, kind) for kind in wanted}
