"""The memory of L-BFGS: the last m pairs of steps s and gradient changes y, and products with them.

`apply` is the two-loop recursion (Nocedal 1980): q becomes H q, H the inverse Hessian that the pairs
describe, from H0 = (s.y / y.y) I of the newest pair. With `free`, a 0/1 vector, it works in the subspace
of the free values: pairs are cut down to it, and those without positive curvature there are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nst.backend import Array, Backend


class CurvaturePairs:
    """A ring of at most `capacity` pairs, memory for all of them made at once: late surprises help nobody."""

    def __init__(self, capacity: int, like: Array, backend: Backend) -> None:
        self._backend = backend
        self._s = backend.zeros((capacity, like.size), like.dtype)
        self._y = backend.zeros((capacity, like.size), like.dtype)
        self._rho = [0.0] * capacity
        self._order: list[int] = []
        self._scratch: Array | None = None
        self._least = float(np.finfo(like.dtype).eps)
        self.scale = 0.0
        """s.y / y.y of the newest pair ever kept: the length of a step per gradient; 0 without one."""

    def __len__(self) -> int:
        return len(self._order)

    def clear(self) -> None:
        """Forgets all pairs, but not the scale."""
        self._order.clear()

    def push(self, x: Array, x_old: Array, g: Array, g_old: Array) -> bool:
        """Keeps the pair s = x - x_old, y = g - g_old, unless its curvature is lost in rounding.

        The test is relative: s.y > eps * |s| |y|, eps of the vectors' dtype.
        """
        row = self._free_row()
        s, y = self._s[row], self._y[row]
        xp = self._backend.xp
        xp.subtract(x, x_old, out=s)
        xp.subtract(g, g_old, out=y)
        sy, ss, yy = (self._backend.dot(a, b) for a, b in ((s, y), (s, s), (y, y)))
        if not sy > self._least * math.sqrt(ss * yy):
            return False
        self._order.append(row)
        self._rho[row] = 1.0 / sy
        self.scale = sy / yy
        return True

    def apply(self, q: Array, free: Array | None = None) -> None:
        """q = H q, in place; with `free`, q must be zero where free is."""
        dot, axpy = self._backend.dot, self._backend.axpy
        rho, scale = self._curvatures(free)
        alpha: dict[int, float] = {}
        for row in reversed(list(rho)):
            alpha[row] = rho[row] * dot(self._s[row], q)
            axpy(-alpha[row], self._y[row], q)
            _mask(q, free)
        q *= scale
        for row in rho:
            beta = rho[row] * dot(self._y[row], q)
            axpy(alpha[row] - beta, self._s[row], q)
            _mask(q, free)

    def pairs(self) -> list[tuple[Array, Array, float]]:
        """(s, y, 1 / s.y), oldest first, for snapshots."""
        return [(self._s[row], self._y[row], self._rho[row]) for row in self._order]

    def restore(self, pairs: Sequence[tuple[Array, Array, float]], scale: float) -> None:
        """Takes back what `pairs` gave, the newest ones if they are more than the capacity."""
        pairs = pairs[-len(self._rho) :]
        self._order = list(range(len(pairs)))
        for row, (s, y, rho) in enumerate(pairs):
            self._s[row][...] = self._backend.asarray(s, self._s.dtype)
            self._y[row][...] = self._backend.asarray(y, self._y.dtype)
            self._rho[row] = rho
        self.scale = scale

    def _free_row(self) -> int:
        """A row not in use; the oldest one if all are (it is overwritten even if the pair is refused)."""
        if len(self._order) == len(self._rho):
            return self._order.pop(0)
        return next(row for row in range(len(self._rho)) if row not in self._order)

    def _curvatures(self, free: Array | None) -> tuple[dict[int, float], float]:
        """1 / s.y of the pairs to use, oldest first, and the scale of H0."""
        if free is None:
            return {row: self._rho[row] for row in self._order}, self.scale
        if self._scratch is None:
            self._scratch = self._backend.zeros(free.shape, free.dtype)
        y, dot = self._scratch, self._backend.dot
        rho, scale = {}, self.scale
        for row in self._order:
            self._backend.xp.multiply(self._y[row], free, out=y)
            sy, yy = dot(self._s[row], y), dot(y, y)
            if sy > self._least * math.sqrt(dot(self._s[row], self._s[row]) * yy):
                rho[row] = 1.0 / sy
                scale = sy / yy
        return rho, scale


def _mask(q: Array, free: Array | None) -> None:
    if free is not None:
        q *= free
