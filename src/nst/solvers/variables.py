"""The active learnable parameters as one vector, as L-BFGS sees them.

lr_mult weighs parameters against each other as a preconditioner does: the vector holds w / sqrt(lr_mult)
(scaled), so that steps in w are scaled by lr_mult. Parameters with lr_mult 0 are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from nst.backend import Array
from nst.core.blob import Blob
from nst.errors import SolverError
from nst.solvers.contract import Bounds, TrainableNet


class Variables:
    """Moves values between the parameter blobs and flat vectors of their backend and dtype."""

    def __init__(self, net: TrainableNet) -> None:
        self.backend = net.backend
        self._entries = [
            (blob, math.sqrt(lr), decay)
            for blob, lr, decay in zip(
                net.learnable_params, net.params_lr, net.params_weight_decay, strict=True
            )
            if lr != 0
        ]
        self.count = sum(blob.count for blob, _, _ in self._entries)
        if self.count == 0:
            raise SolverError(
                "LBFGS: nothing to optimise (got a net whose learnable parameters all have lr_mult 0)"
            )
        self.dtype = self._entries[0][0].dtype

    def vector(self) -> Array:
        """A new vector of zeros."""
        return self.backend.zeros((self.count,), self.dtype)

    def read_values(self, out: Array) -> None:
        """out = parameters, scaled."""
        for blob, scale, _, part in self._parts(out):
            part[...] = blob.data.reshape(-1)
            if scale != 1:
                part /= scale

    def read_gradient(self, out: Array, *, scaled: bool = True) -> None:
        """out = diffs, scaled unless told otherwise."""
        for blob, scale, _, part in self._parts(out):
            part[...] = blob.diff.reshape(-1)
            if scaled and scale != 1:
                part *= scale

    def write_values(self, vector: Array) -> None:
        """Parameters = vector, unscaled."""
        for blob, scale, _, part in self._parts(vector):
            data = blob.data.reshape(-1)
            data[...] = part
            if scale != 1:
                data *= scale

    def subtract(self, vector: Array) -> None:
        """Parameters -= lr_mult * vector, a vector that is not scaled."""
        for blob, scale, _, part in self._parts(vector):
            self.backend.axpy(-scale * scale, part.reshape(blob.shape), blob.data)

    def add_decay(self, weight_decay: float, values: Array, gradient: Array) -> float:
        """Adds the gradient of L2 weight decay; returns its value, 1/2 * decay * |w|^2."""
        total = 0.0
        if weight_decay == 0:
            return total
        parts = zip(self._parts(values), self._parts(gradient), strict=True)
        for (_, scale, decay_mult, w), (_, _, _, g) in parts:
            decay = weight_decay * decay_mult * scale * scale
            self.backend.axpy(decay, w, g)
            total += 0.5 * decay * self.backend.dot(w, w)
        return total

    def limits(
        self, params: Sequence[Blob], bounds: Sequence[Bounds | None]
    ) -> tuple[Array, Array] | None:
        """Bounds as two vectors, infinite where there are none; None if no parameter has any."""
        if all(pair is None for pair in bounds):
            return None
        by_blob = {id(blob): pair for blob, pair in zip(params, bounds, strict=True)}
        lower, upper = self.vector(), self.vector()
        for sign, side, vector in ((-1, 0, lower), (1, 1, upper)):
            for blob, scale, _, part in self._parts(vector):
                pair = by_blob[id(blob)]
                limit = pair[side] if pair is not None else None
                part.reshape(blob.shape)[...] = sign * np.inf if limit is None else limit
                part /= scale
        return lower, upper

    def _parts(self, vector: Array) -> Iterator[tuple[Blob, float, float, Array]]:
        start = 0
        for blob, scale, decay in self._entries:
            yield blob, scale, decay, vector[start : start + blob.count]
            start += blob.count
