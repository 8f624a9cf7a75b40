"""The vector half of CudaBackend: inner products and a solver's steps, each one pass over memory.

The host waits for the device once per inner product that it asks for, once for all of `gated_products`, and
not at all in the two-loop recursion of L-BFGS, whose scalars stay on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nst.backend.cuda.device import Array, Device
from nst.backend.cuda.kernels import BLOCK, REDUCTION_BLOCKS, blocks_for
from nst.backend.numpy_backend import NumpyBackend

STORAGE = {np.dtype(np.float32): "fp32", np.dtype(np.float64): "fp64"}
_VALUES_PER_THREAD = 4
"""Of a sum, before there are as many blocks as a sum may have."""


class VectorSteps(NumpyBackend):
    """Contiguous float32 and float64 vectors by our kernels; others as the reference, on CuPy's arrays."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.xp = device.xp
        self._partials = device.empty((2, 2 * REDUCTION_BLOCKS), np.float64)
        self._scalars = device.empty((64,), np.float64)

    def dot(self, a: Array, b: Array) -> float:
        a, b = self.xp.ascontiguousarray(a), self.xp.ascontiguousarray(b)
        blocks, partials = self._share(a.size), self._partials[0]
        self._on_vectors("dot", a, blocks * BLOCK, a, b, partials, a.size)
        return self._sums([(partials, blocks)])[0]

    def axpy(self, alpha: float, x: Array, y: Array) -> None:
        if not are_plain(x, y):
            return super().axpy(alpha, x, y)
        self._on_vectors("axpy", x, x.size, x, y, x.size, alpha, None)

    def axpy_dot(
        self, alpha: float, x: Array, y: Array, z: Array, gate: Array | None = None
    ) -> float:
        if not are_plain(x, y, z, gate):
            return super().axpy_dot(alpha, x, y, z, gate)
        blocks, partials = self._share(y.size), self._partials[0]
        self._on_vectors("axpy_dot", x, blocks * BLOCK, x, y, z, gate, partials, y.size, alpha)
        return self._sums([(partials, blocks)])[0]

    def gated_products(
        self, pairs: Sequence[tuple[Array, Array]], gate: Array, scratch: Array
    ) -> list[tuple[float, float]]:
        if not pairs or not are_plain(gate, *(vector for pair in pairs for vector in pair)):
            return super().gated_products(pairs, gate, scratch)
        blocks = self._share(gate.size)
        partials = self.device.empty((len(pairs), 2, blocks), np.float64)
        for i, (a, b) in enumerate(pairs):
            self._on_vectors(
                "gated_products", gate, blocks * BLOCK, a, b, gate, partials[i], gate.size
            )
        sums = self._sums([(partials[i, j], blocks) for i in range(len(pairs)) for j in (0, 1)])
        return list(zip(sums[::2], sums[1::2], strict=True))

    def two_loop(
        self,
        q: Array,
        pairs: Sequence[tuple[Array, Array, float]],
        scale: float,
        gate: Array | None = None,
    ) -> None:
        vectors = [vector for s, y, _ in pairs for vector in (s, y)]
        if not pairs or q.dtype != np.float32 or not are_plain(q, gate, *vectors):
            return super().two_loop(q, pairs, scale, gate)
        count, blocks = q.size, self._share(q.size)
        known = self.device.upload(np.array([scale, *(rho for _, _, rho in pairs)]))
        alphas = self.device.empty((len(pairs),), np.float64)
        here, there = self._partials[0], self._partials[1]
        threads, last = blocks * BLOCK, len(pairs) - 1
        self._on_vectors("dot", q, threads, pairs[last][0], q, here, count)
        for i in reversed(range(len(pairs))):
            following = pairs[i - 1][0] if i else None
            scalars = known[i + 1 : i + 2], alphas[i : i + 1]
            given = q, pairs[i][1], following, gate, here, there, *scalars, blocks, count
            self._on_vectors("curvature_down", q, threads, *given)
            here, there = there, here
        self._on_vectors("curvature_turn", q, threads, q, pairs[0][1], here, known[:1], count)
        for i, (s, _, _) in enumerate(pairs):
            following = pairs[i + 1][1] if i < last else None
            scalars = known[i + 1 : i + 2], alphas[i : i + 1]
            given = q, s, following, gate, here, there, *scalars, blocks, count
            self._on_vectors("curvature_up", q, threads, *given)
            here, there = there, here

    def sgd_step(
        self, data: Array, diff: Array, history: Array, rate: float, momentum: float
    ) -> None:
        if not are_plain(data, diff, history):
            return super().sgd_step(data, diff, history, rate, momentum)
        given = data, diff, history, data.size, rate, momentum
        self._on_vectors("sgd_step", data, data.size, *given)

    def adam_step(
        self,
        data: Array,
        diff: Array,
        moments: tuple[Array, Array],
        rate: float,
        decays: tuple[float, float],
        delta: float,
    ) -> None:
        if not are_plain(data, diff, *moments):
            return super().adam_step(data, diff, moments, rate, decays, delta)
        given = data, diff, *moments, data.size, rate, *decays, delta
        self._on_vectors("adam_step", data, data.size, *given)

    # ---- launches ------------------------------------------------------------------------------

    def _share(self, count: int) -> int:
        """Blocks of a sum over so many values."""
        return min(REDUCTION_BLOCKS, blocks_for(-(-count // _VALUES_PER_THREAD)))

    def _sums(self, partials: Sequence[tuple[Array, int]]) -> list[float]:
        """The sum of each array's first so many values; waits for the device once."""
        if len(partials) > self._scalars.size:
            self._scalars = self.device.empty((len(partials),), np.float64)
        for i, (array, count) in enumerate(partials):
            place = self._scalars[i : i + 1]
            self._on_vectors("finish_sum_double", array, BLOCK, array, place, count)
        sums: list[float] = self.device.download(self._scalars[: len(partials)]).tolist()
        return sums

    def _on_vectors(self, name: str, like: Array, threads: int, *arguments: Any) -> None:
        """A kernel in the storage of one array, on arrays, numbers and None."""
        values = (
            value if isinstance(value, int | float) else self.device.address(value)
            for value in arguments
        )
        self.device.kernels.launch(name, STORAGE[like.dtype], threads, *values)


def are_plain(*arrays: Array | None) -> bool:
    """Whether the kernels take these: contiguous, of one type, float32 or float64."""
    given = [array for array in arrays if array is not None]
    kind = given[0].dtype
    return kind in STORAGE and all(a.dtype == kind and a.flags.c_contiguous for a in given)
