"""The whole iteration against PyTorch: one run of each contender in turn, medians and paired ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def iteration(size: int) -> Callable[[Scale, Rows], None]:
    """A stage: every precision of ours against PyTorch's eager ones."""

    def run(scale: Scale, rows: Rows) -> None:
        side = scale.size(size)
        makers = [partial(our_run, scale, p, side) for p in scale.precisions]
        compare(scale, rows, size, [*makers, *_peers(scale, PEERS, side)])

    return run


def compiled(size: int) -> Callable[[Scale, Rows], None]:
    """A stage: our fastest against torch.compile, which takes its time to compile."""

    def run(scale: Scale, rows: Rows) -> None:
        side = scale.size(size)
        makers = [partial(our_run, scale, "fp16", side), partial(our_run, scale, "tf32", side)]
        peers = COMPILED[:1] if scale.dry else COMPILED
        compare(scale, rows, size, [*makers, *_peers(scale, peers, side)])

    return run


def compare(scale: Scale, rows: Rows, size: int, makers: Sequence[Make]) -> None:
    """Builds the contenders that can be built, runs them in turn, and writes seconds per iteration."""
    runs = [run for run in (_made(make, rows, size) for make in makers) if run is not None]
    counts = {run.name: _steps(run, scale) for run in runs}
    seconds: dict[str, list[float]] = {run.name: [] for run in runs}
    for _ in range(scale.rounds):
        for run in runs:
            count = counts[run.name]
            seconds[run.name].append(wall_seconds(run.wait, partial(run.step, count)) / count)
    for name, times in seconds.items():
        rows.add(size=size, contender=name, ms=1e3 * median(times), seconds=times)


def _made(make: Make, rows: Rows, size: int) -> Run | None:
    """A contender that has made its first steps; one that cannot is reported and left out."""
    try:
        run = make()
        run.step(3)
        run.wait()
        return run
    except Exception as error:  # whatever it is, the others go on
        rows.add(size=size, contender=str(make), error=f"{type(error).__name__}: {error}"[:500])
        return None


def _steps(run: Run, scale: Scale) -> int:
    """Iterations per round."""
    if scale.dry:
        return 1
    once = min(wall_seconds(run.wait, partial(run.step, 3)) / 3 for _ in range(2))
    return max(1, min(200, round(ROUND_SECONDS / once)))


def _peers(scale: Scale, kinds: Sequence[str], side: int) -> list[Make]:
    def make(kind: str) -> Run:
        from gpu_checks.torch_runs import torch_run

        return torch_run(kind, side, "cpu" if scale.dry else "cuda")

    return [partial(make, kind) for kind in kinds if not (scale.dry and "fp16" in kind)]
