"""How much memory a compiled net takes, found by compiling it for a target that makes no memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nst.backend.cuda.device import CompileTarget, Launch, Precision
from nst.backend.cuda.graphs import Graph
from nst.backend.cuda.program.compiler import Compiler
from nst.backend.cuda.program.operations import compile_backward, compile_forward
from nst.backend.cuda.program.tape import place_buffers
from nst.backend.programs import ProgramLayer


def bytes_needed(precision: Precision, layers: Sequence[ProgramLayer], fuses_gates: bool) -> int:
    """Bytes of the arena, of weights and of converted inputs, without the workspace of the convolutions.

    In fp16 the calibrating run in bf16 takes as much, before.
    """
    target = _DryTarget(fuses_gates)
    compiler = Compiler(target, precision, layers, {})
    compile_forward(compiler)
    if any(layer.runs_backward for layer in layers):
        compile_backward(compiler)
    compiler.keep_values()
    return place_buffers(compiler.tape.buffers) + target.made


@dataclass(frozen=True)
class _DryPlan:
    workspace: int = 0

    def bind(self, addresses: Sequence[int], workspace: int) -> Launch:
        return lambda: None


class _DryTarget(CompileTarget):
    """Counts the bytes that are asked for, and has a plan for everything."""

    def __init__(self, fuses_gates: bool) -> None:
        self.fuses_gates = fuses_gates
        self.made = 0

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        self.made += int(np.prod(shape)) * np.dtype(dtype).itemsize

    def upload(self, host: NDArray[Any]) -> Any:
        self.made += host.nbytes

    def plan(self, graph: Graph, precision: Precision) -> _DryPlan:
        return _DryPlan()
