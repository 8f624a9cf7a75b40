"""The measuring: one warm process per contender, one iteration each in turn, so that whatever else the
machine does meets all of them alike; ratios are taken within a round and only then summarised."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

TOOLS = Path(__file__).resolve().parents[1]
MODES = ("forward", "both")

TUNED_MALLOC = {
    "THP_MEM_ALLOC_ENABLE": "1",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_MMAP_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
"""The environment of a contender named `...+malloc`."""


PAUSE = 0.1
"""Seconds before each timed iteration: idle threads of the contender before it have stopped spinning by then
(those of an OpenMP run time do so for some milliseconds, on the processor of whoever comes next)."""


class Contender:
    """A worker process that has built its net and waits for orders."""

    def __init__(self, name: str, net: str, size: int, threads: int) -> None:
        self.name = name
        kind, _, tuning = name.partition("+")
        command = [sys.executable, "-m", "benchmark.worker", kind, net, str(size), str(threads)]
        paths = [str(TOOLS), str(TOOLS.parent / "src"), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **(TUNED_MALLOC if tuning else {}),
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            },
        )
        if self._answer() != "ready":
            raise RuntimeError(f"contender {name} did not get ready for {net} at {size}")

    def run(self, mode: str) -> float:
        """Seconds of one iteration."""
        return float(self._ask(mode))

    def gradient(self) -> np.ndarray:
        """What the last `both` left at the picture."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "gradient.npy"
            self._ask(f"gradient {path}")
            return np.load(path)

    def end(self) -> int:
        """Stops the process; returns its peak resident memory in bytes."""
        peak = int(self._ask("end"))
        self._process.wait()
        return peak

    def _ask(self, order: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@dataclass
class Result:
    """Everything that was measured of one contender on one net and size."""

    contender: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak_bytes: int = 0
    gradient_error: float = 0.0

    def median(self, mode: str) -> float:
        return statistics.median(self.seconds[mode])


def measure(
    net: str, size: int, contenders: Sequence[str], rounds: int, threads: int
) -> list[Result]:
    """Runs all contenders in turn; the gradient error is relative to the first of them."""
    workers = [Contender(name, net, size, threads) for name in contenders]
    results = [Result(name, {mode: [] for mode in MODES}) for name in contenders]
    for round_number in range(rounds + 1):  # the first round warms up
        for mode in MODES:
            for worker, result in zip(workers, results, strict=True):
                time.sleep(PAUSE)
                seconds = worker.run(mode)
                if round_number:
                    result.seconds[mode].append(seconds)
    gradients = [worker.gradient().astype(np.float64) for worker in workers]
    for worker, result, gradient in zip(workers, results, gradients, strict=True):
        difference = np.linalg.norm(gradient - gradients[0])
        result.gradient_error = float(difference / np.linalg.norm(gradients[0]))
        result.peak_bytes = worker.end()
    return results


def ratio(result: Result, base: Result, mode: str) -> tuple[float, float, float]:
    """Median and quartiles of how many times longer `result` takes than `base`, round by round."""
    pairs = zip(result.seconds[mode], base.seconds[mode], strict=True)
    ratios = sorted(a / b for a, b in pairs)
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return float(middle), float(low), float(high)


def fma_peak(threads: int) -> float:
    """GFLOP/s of multiply-adds on registers, measured now; NaN without a compiler."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        return float("nan")
    source = Path(__file__).with_name("fma_peak.cpp")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "fma_peak"
        flags = ["-O2", "-march=native", "-std=c++17", "-ffp-contract=fast", "-pthread"]
        subprocess.run([compiler, *flags, "-o", program, source], check=True)
        output = subprocess.run(
            [program, str(threads)], check=True, capture_output=True, text=True
        ).stdout
    return float(output)
