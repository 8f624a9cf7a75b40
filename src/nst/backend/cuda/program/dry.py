"""How much memory a compiled net takes, found by compiling it for a device that makes no memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nst.backend.cuda.cublas import Matrix
from nst.backend.cuda.device import Device, Launch, Precision
from nst.backend.cuda.graphs import Graph
from nst.backend.cuda.program.compiler import Compiler
from nst.backend.cuda.program.operations import compile_backward, compile_forward
from nst.backend.cuda.program.tape import place_buffers
from nst.backend.programs import ProgramLayer


def bytes_needed(precision: Precision, layers: Sequence[ProgramLayer], fuses_gates: bool) -> int:
    """Bytes of the arena, of weights and of converted inputs, without the workspace of the convolutions.

    In fp16 the calibrating run in bf16 takes as much, before.
    """
    device = _DryDevice(fuses_gates)
    compiler = Compiler(device, precision, layers, {})
    compile_forward(compiler)
    if any(layer.runs_backward for layer in layers):
        compile_backward(compiler)
    compiler.keep_values()
    return place_buffers(compiler.tape.buffers) + device.made


@dataclass(frozen=True)
class _DryPlan:
    workspace: int = 0

    def bind(self, addresses: Sequence[int], workspace: int) -> Launch:
        raise NotImplementedError


class _DryDevice(Device):
    """Counts the bytes that are asked for; has a plan for everything and runs nothing."""

    def __init__(self, fuses_gates: bool) -> None:
        self.fuses_gates = fuses_gates
        self.made = 0

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        self.made += int(np.prod(shape)) * np.dtype(dtype).itemsize

    def upload(self, host: NDArray[Any]) -> Any:
        self.made += host.nbytes

    def download(self, array: Any) -> NDArray[Any]:
        raise NotImplementedError

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        raise NotImplementedError

    def download_into(self, host: NDArray[Any], array: Any) -> None:
        raise NotImplementedError

    def free_bytes(self) -> int:
        raise NotImplementedError

    def plan(self, graph: Graph, precision: Precision) -> _DryPlan:
        return _DryPlan()

    def multiply(
        self,
        a: Matrix,
        b: Matrix,
        out: Matrix,
        sizes: tuple[int, int, int],
        *,
        alpha: float | int = 1.0,
        beta: float | int = 0.0,
        matrices: int = 1,
        tf32: bool = False,
        on_device: bool = False,
    ) -> None:
        raise NotImplementedError

    def synchronize(self) -> None:
        raise NotImplementedError

    def record(self, work: Launch) -> Launch:
        raise NotImplementedError
