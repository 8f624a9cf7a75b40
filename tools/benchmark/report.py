"""The report of a benchmark run, as Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.measure import MODES, Result, ratio

MODE_NAMES = {"forward": "forward", "both": "forward + backward"}

EXPLANATION = """\
Each section is one run of the command in its title. Every contender is a warm process of its own; they run
one iteration each in turn, a tenth of a second apart, so that nobody's idle threads still spin. Times are
medians, ratios medians of the ratios within a round: how many times longer than the first contender. `% of
FMA peak` counts the multiply-adds of direct convolution, so Winograd may pass 100. Forward is the feature net
up to the last tap with its Gram matrices; backward adds the losses and the gradient of the picture, without
the optimiser's step. Weights and pictures are random. The last column is the relative L2 difference of the
picture's gradient; ReLU and pooling decisions that flip dominate it, as between any two float32 programs."""


def machine() -> str:
    """The processor and system in one line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line]
        fields = {key.strip(): value.strip() for key, value in reversed(lines)}
        family = f"family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"
        name = f"{fields.get('model name', name)} ({family})"
    return f"{name}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def table(net: str, size: int, results: Sequence[Result], gflop: float, peak: float) -> list[str]:
    """One table: a row per contender; ratios say how many times longer than the first one it takes."""
    base = results[0]
    columns = [
        title
        for mode in MODES
        for title in (f"{MODE_NAMES[mode]}, ms", "ratio (quartiles)", "% of FMA peak")
    ]
    columns = ["contender", *columns, "peak memory, MB", "gradient against the first"]
    lines = [f"### {net}, {size} x {size}", "", f"| {' | '.join(columns)} |"]
    lines.append("|---" * len(columns) + "|")
    for result in results:
        cells = [f"`{result.contender}`"]
        for mode, passes in zip(MODES, (1, 2), strict=True):
            middle, low, high = ratio(result, base, mode)
            seconds = result.median(mode)
            share = 100 * passes * gflop / seconds / peak
            cells += [
                f"{seconds * 1e3:.0f}",
                f"{middle:.2f} ({low:.2f}-{high:.2f})",
                f"{share:.0f}",
            ]
        cells += [f"{result.peak_bytes / 1e6:.0f}", f"{result.gradient_error:.1e}"]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


@dataclass(frozen=True)
class Run:
    """One call of tools/bench: what was asked for, and the FMA peak (GFLOP/s) by when it was measured."""

    command: str
    threads: int
    rounds: int
    peaks: Mapping[str, float]

    def lines(self) -> list[str]:
        measured = ", ".join(f"{when} {value:.0f} GFLOP/s" for when, value in self.peaks.items())
        load = f"{os.getloadavg()[0]:.1f}, this run's own {self.threads} included"
        return [
            f"## `{self.command}`",
            "",
            f"On {machine()}, {self.threads} threads, {self.rounds} rounds. FMA peak measured in the "
            f"same run: {measured}. Load average at the end {load}: on a busy machine read the ratios, "
            "not the times.",
            "",
        ]


def write(path: Path, run: Run, tables: list[str], *, append: bool) -> None:
    """Writes the report file, or adds the run to one that is there."""
    head = ["# The CPU engine against PyTorch and NumPy", "", EXPLANATION, ""]
    old = path.read_text().splitlines() + [""] if append and path.is_file() else head
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*old, *run.lines(), *tables]).rstrip() + "\n")
