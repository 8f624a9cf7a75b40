"""Where one iteration of our engine goes: milliseconds per step of the net, of them in kernels, and for the
steps that multiply matrices how near they come to what the processor could do.

A step is a layer in one direction, or two layers that run as one. `kernels` is the time inside the compiled
library, threads included; the rest of a step is the Python around it. `bound` is the time that the step's
multiply-adds would take at the FMA peak, as the kernel does them: a Winograd tile F(M x M) counts (M + 2)^2
products per channel pair instead of 9 M^2, a Gram matrix only its half.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmark import our_nets
from nst.backend.cpu import CpuBackend
from nst.backend.cpu.convolution import Problem
from nst.backend.cpu.engine import Engine
from nst.backend.geometry import ConvGeometry
from nst.backend.operations import Convolve, GramMatrix
from nst.net import Net


@dataclass
class Timing:
    """Seconds of one step, one entry per iteration."""

    kernels: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)


class _Watch:
    """Adds up what the engine and the runner spend while an iteration runs."""

    def __init__(self, engine: Engine, runner: Any) -> None:
        self.spent: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.kernels = 0.0
        engine.call = self._timed_call(engine.call)  # type: ignore[method-assign]
        for direction in ("forward", "backward"):
            setattr(runner, direction, self._timed_step(direction, getattr(runner, direction)))

    def _timed_call(self, call: Callable[..., None]) -> Callable[..., None]:
        def timed(*arguments: object) -> None:
            begin = time.perf_counter()
            call(*arguments)
            self.kernels += time.perf_counter() - begin

        return timed

    def _timed_step(self, direction: str, run: Callable[..., bool]) -> Callable[..., bool]:
        def timed(step: Any, *arguments: object) -> bool:
            if step is None:  # a layer of which the runner knows nothing
                return run(step, *arguments)
            begin, kernels = time.perf_counter(), self.kernels
            done = run(step, *arguments)
            record = self.spent[direction, step.index]
            record[0] += self.kernels - kernels
            record[1] += time.perf_counter() - begin
            return done

        return timed


def profile(name: str, size: int, threads: int, rounds: int, peak: float) -> list[str]:
    """Runs iterations of one net on the engine; returns a Markdown table. peak: GFLOP/s of the processor."""
    backend = CpuBackend(threads)
    net = our_nets.solving_net(name, size, backend)
    runner: Any = net._runner
    runner.batch.defers = False  # each kernel in its own step
    watch = _Watch(backend.engine, runner)
    timings: dict[tuple[str, int], Timing] = defaultdict(Timing)
    whole: list[float] = []
    for number in range(rounds + 2):  # two to warm up
        watch.spent.clear()
        begin = time.perf_counter()
        net.forward_backward()
        if number < 2:
            continue
        whole.append(time.perf_counter() - begin)
        for key, (kernels, total) in watch.spent.items():
            timings[key].kernels.append(kernels)
            timings[key].total.append(total)
    lines = list(_table(name, size, net, timings, whole, peak))
    runner.batch.defers = True
    return [*lines, _in_one_go(net, watch, rounds), ""]


def _in_one_go(net: Net, watch: _Watch, rounds: int) -> str:
    """What a run has around the kernels, where the calls of many layers are made in one go."""
    outside = []
    for _ in range(rounds):
        watch.kernels, begin = 0.0, time.perf_counter()
        net.forward_backward()
        outside.append(time.perf_counter() - begin - watch.kernels)
    return f"Calls of many layers in one go, as in a run: outside {statistics.median(outside) * 1e3:.1f} ms."


def _table(
    name: str,
    size: int,
    net: Net,
    timings: dict[tuple[str, int], Timing],
    whole: list[float],
    peak: float,
) -> Iterator[str]:
    yield f"### {name}, {size} x {size}, step by step"
    yield ""
    yield "| step | direction | kernels, ms | bound, ms | % of peak | around them, ms |"
    yield "|---|---|---|---|---|---|"
    in_kernels = 0.0
    for (direction, index), timing in timings.items():
        kernels, total = statistics.median(timing.kernels), statistics.median(timing.total)
        in_kernels += kernels
        if total < 2e-5:
            continue
        gflop = sum(_gflop(net, i, direction) for i in _pair(net, index, direction))
        bound = (
            f"{gflop / peak * 1e3:.2f} | {100 * gflop / peak / kernels:.0f}"
            if gflop and kernels
            else " | "
        )
        around = (total - kernels) * 1e3
        yield f"| {net.layers[index].name} | {direction} | {kernels * 1e3:.2f} | {bound} | {around:.2f} |"
    middle = statistics.median(whole)
    yield ""
    yield (
        f"Iteration {middle * 1e3:.1f} ms, of it in kernels {in_kernels * 1e3:.1f} ms, "
        f"outside {(middle - in_kernels) * 1e3:.1f} ms."
    )
    yield ""


def _pair(net: Net, index: int, direction: str) -> list[int]:
    """The layers whose kernels run in a step: a rectified convolution runs in its ReLU's forward step, and a
    Gram matrix's gradient where the split before it collects the sum."""
    layer = net.layers[index]
    if direction == "forward":
        before = net.execution.steps[index - 1]
        runs_here = layer.type == "ReLU" and before and isinstance(before.operation, Convolve)
        return [index - 1] if runs_here else [index]
    if layer.type == "Split":
        tops = set(net.wiring.layers[index].tops)
        return [
            planned.index
            for planned in net.wiring.layers
            if tops & set(planned.bottoms) and net.layers[planned.index].type == "Gram"
        ]
    return [index]


def _gflop(net: Net, index: int, direction: str) -> float:
    """10^9 operations of one layer's kernel."""
    step = net.execution.steps[index]
    bottom, top = net.bottoms_of(index), net.tops_of(index)
    if step is None or not bottom:
        return 0.0
    x, y = bottom[0].shape, top[0].shape
    if isinstance(step.operation, GramMatrix):
        halves = 1 if direction == "forward" else 2
        return halves * x[1] ** 2 * math.prod(x[2:]) / 1e9
    if not isinstance(step.operation, Convolve):
        return 0.0
    g: ConvGeometry = step.operation.geometry
    plain = ConvGeometry(g.kernel, g.stride, g.pad, g.dilation)
    problem = Problem(x[0], x[1] // g.group, y[1] // g.group, x[2:], y[2:], plain)
    backward = direction == "backward"
    pairs = problem.in_channels * y[1]
    tile = 0 if problem.reads_picture else problem.winograd_tile(backward)
    if tile:
        tiles = math.prod(-(-side // tile) for side in (x[2:] if backward else y[2:]))
        return 2 * pairs * tiles * (tile + 2) ** 2 / 1e9
    return 2 * pairs * math.prod(g.kernel) * math.prod(y[2:]) / 1e9
