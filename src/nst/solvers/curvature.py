"""The memory of L-BFGS: the last m pairs of steps s and gradient changes y, and products with them.

`apply` is the two-loop recursion (Nocedal 1980): q becomes H q, H the inverse Hessian that the pairs
describe, from H0 = (s.y / y.y) I of the newest pair. With `free`, a 0/1 vector, it works in the subspace
of the free values: pairs are cut down to it, and those without positive curvature there are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nst.backend import Array, Backend
from nst.errors import SnapshotError

_SCALE, _RHO = "lbfgs/scale", "lbfgs/rho"


class CurvaturePairs:
    """A ring of at most `capacity` pairs; memory for all is made at once, so that it cannot run out late."""

    def __init__(self, capacity: int, size: int, dtype: DTypeLike, backend: Backend) -> None:
        self._backend = backend
        self._s = backend.zeros((capacity, size), dtype)
        self._y = backend.zeros((capacity, size), dtype)
        self._rho = [0.0] * capacity
        self._ss = [0.0] * capacity
        self._order: list[int] = []
        self._scratch: Array | None = None
        self._rounding = float(np.finfo(np.dtype(dtype)).eps)
        self.scale = 0.0
        """s.y / y.y of the newest pair ever kept: the length of a step per gradient; 0 before that."""

    def __len__(self) -> int:
        return len(self._order)

    def clear(self) -> None:
        """Forgets all pairs, but not the scale."""
        self._order.clear()

    def push(self, s: Array, y: Array, *, least: float | None = None) -> bool:
        """Keeps a copy of the pair, in place of the oldest if all rows are used.

        Refuses pairs whose curvature is lost in rounding, s.y <= eps * |s| |y|; with `least`, those with
        s.y < least. Returns whether the pair was kept.
        """
        dot = self._backend.dot
        sy, yy, ss = dot(s, y), dot(y, y), dot(s, s)
        kept = sy > self._rounding * math.sqrt(ss * yy) if least is None else sy >= least
        if not kept:
            return False
        full = len(self._order) == len(self._rho)
        row = self._order.pop(0) if full else len(self._order)
        if not full and self._order:
            row = (self._order[-1] + 1) % len(self._rho)
        self._order.append(row)
        self._s[row][...], self._y[row][...] = s, y
        self._rho[row], self._ss[row] = 1.0 / sy, ss
        self.scale = sy / yy
        return True

    def apply(self, q: Array, free: Array | None = None) -> None:
        """q = H q, in place; with `free`, q must be zero where free is. Without pairs q stays."""
        rho, scale = self._curvatures(free)
        pairs = [(self._s[row], self._y[row], rho[row]) for row in rho]
        self._backend.two_loop(q, pairs, scale, free)

    def memory(self) -> dict[str, NDArray[Any]]:
        """Copies of the pairs on the host, by name, oldest first, for snapshots."""
        named = {
            _SCALE: np.array([self.scale]),
            _RHO: np.array([self._rho[row] for row in self._order]),
        }
        for k, row in enumerate(self._order):
            named[f"lbfgs/s/{k}"] = np.array(self._backend.to_host(self._s[row]))
            named[f"lbfgs/y/{k}"] = np.array(self._backend.to_host(self._y[row]))
        return named

    def take(self, named: Mapping[str, NDArray[Any]], path: str) -> None:
        """Takes back what `memory` gave, the newest pairs if they are more than the capacity.

        Raises SnapshotError if they are missing or of another size.
        """
        if _SCALE not in named or _RHO not in named:
            raise SnapshotError("no memory of L-BFGS in it", path=path)
        rho = named[_RHO]
        first = max(0, rho.size - len(self._rho))
        for k in range(first, rho.size):
            for part, rows in (("s", self._s), ("y", self._y)):
                vector = named.get(f"lbfgs/{part}/{k}")
                if vector is None or vector.shape != rows[0].shape:
                    raise SnapshotError(
                        f"L-BFGS vector {part}/{k} does not fit the net (got "
                        f"{None if vector is None else vector.shape}, expected {rows[0].shape})",
                        path=path,
                    )
                rows[k - first][...] = self._backend.asarray(vector, rows.dtype)
            self._rho[k - first] = float(rho[k])
            self._ss[k - first] = self._backend.dot(self._s[k - first], self._s[k - first])
        self._order = list(range(rho.size - first))
        self.scale = float(named[_SCALE][0])

    def _curvatures(self, free: Array | None) -> tuple[dict[int, float], float]:
        """1 / s.y of the pairs to use, by row, oldest first, and the scale of H0."""
        scale = self.scale or 1.0
        if free is None:
            return {row: self._rho[row] for row in self._order}, scale
        if self._scratch is None:
            self._scratch = self._backend.zeros(free.shape, free.dtype)
        pairs = [(self._s[row], self._y[row]) for row in self._order]
        products = self._backend.gated_products(pairs, free, self._scratch)
        rho = {}
        for row, (sy, yy) in zip(self._order, products, strict=True):
            if sy > self._rounding * math.sqrt(self._ss[row] * yy):
                rho[row], scale = 1.0 / sy, sy / yy
        return rho, scale
