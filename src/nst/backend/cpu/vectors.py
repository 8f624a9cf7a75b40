"""The vector half of CpuBackend: inner products and a solver's steps, each one pass over memory."""

from __future__ import annotations

import ctypes as ct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend.cpu.engine import Engine, address
from nst.backend.numpy_backend import NumpyBackend

Array = NDArray[Any]


def on_engine(*arrays: Array | None) -> bool:
    """Whether the engine takes these: float32 and C-contiguous."""
    return all(a is None or (a.dtype == np.float32 and a.flags.c_contiguous) for a in arrays)


class VectorSteps(NumpyBackend):
    """float32 vectors on the engine, all others on the reference."""

    def __init__(self, threads: int | None = None, isa: str | None = None) -> None:
        self.engine = Engine(threads, isa)

    def dot(self, a: Array, b: Array) -> float:
        if not on_engine(a, b):
            return super().dot(a, b)
        result = ct.c_double()
        self.engine.call("nst_dot", address(a), address(b), a.size, ct.addressof(result))
        return result.value

    def axpy(self, alpha: float, x: Array, y: Array) -> None:
        if not on_engine(x, y):
            return super().axpy(alpha, x, y)
        self.engine.call("nst_axpby", alpha, address(x), 1.0, address(y), address(y), x.size)

    def axpy_dot(
        self, alpha: float, x: Array, y: Array, z: Array, gate: Array | None = None
    ) -> float:
        if not on_engine(x, y, z, gate):
            return super().axpy_dot(alpha, x, y, z, gate)
        result = ct.c_double()
        vectors = (address(array) for array in (x, y, z, gate))
        self.engine.call("nst_axpy_dot", alpha, *vectors, y.size, ct.addressof(result))
        return result.value

    def sgd_step(
        self, data: Array, diff: Array, history: Array, rate: float, momentum: float
    ) -> None:
        if not on_engine(data, diff, history):
            return super().sgd_step(data, diff, history, rate, momentum)
        arrays = (address(array) for array in (data, diff, history))
        self.engine.call("nst_sgd_step", *arrays, data.size, rate, momentum)

    def adam_step(
        self,
        data: Array,
        diff: Array,
        moments: tuple[Array, Array],
        rate: float,
        decays: tuple[float, float],
        delta: float,
    ) -> None:
        if not on_engine(data, diff, *moments):
            return super().adam_step(data, diff, moments, rate, decays, delta)
        arrays = (address(array) for array in (data, diff, *moments))
        self.engine.call("nst_adam_step", *arrays, data.size, rate, *decays, delta)
