"""Losses on the engine: gates, scalars and squared distances of feature maps, without leaving the blocked
layout (zeros in the last block change no sum), and squared distances of anything else."""

from __future__ import annotations

import ctypes as ct
from functools import partial

import numpy as np

from nst.backend.cpu.engine import Blocked, FloatArray, address
from nst.backend.cpu.handler import Blobs, Flags, Handler, Runtime
from nst.backend.cpu.twins import extent_of, fits, is_feature_map
from nst.backend.operations import BlobLike, Step


class GateHandler(Handler):
    """Event: the top refers to the bottom's values; only the gradient is gated."""

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        x, y = bottom[0], top[0]
        if not is_feature_map(x) or not self.twins.is_fresh(x.data_memory, x):
            return False
        self.twins.wrote(y.data_memory, y, self.twins.read(x.data_memory, x))
        return True

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        x, y = bottom[0], top[0]
        if not is_feature_map(x) or not self.twins.is_fresh(y.diff_memory, y):
            return False
        if propagate_down[0]:
            gradient, values = self.gradients.read(y), self.twins.read(x.data_memory, x)
            self.gradients.write(x, lambda out: self._gate(gradient, values, out))
        return True

    def _gate(self, gradient: Blocked, values: Blocked, out: Blocked) -> None:
        if self.operation.gate == "feature":
            self.engine.relu_backward(gradient, values, 0.0, out)
        else:
            self.engine.scale(1.0, gradient, out)


class MultiplyHandler(Handler):
    """Scalar with MUL, and Dropout outside training."""

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        x, y = bottom[0], top[0]
        if not is_feature_map(x) or not self.twins.is_fresh(x.data_memory, x):
            return False
        source = self.twins.read(x.data_memory, x)
        in_place = y.data_memory is x.data_memory
        if in_place and self.operation.factor == 1.0:
            return True
        target = source if in_place else self.twins.target(y.data_memory, y)
        self.engine.scale(self.operation.factor, source, target)
        self.twins.wrote(y.data_memory, y, target)
        return True

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        x, y = bottom[0], top[0]
        if not is_feature_map(x) or not self.twins.is_fresh(y.diff_memory, y):
            return False
        if not propagate_down[0]:
            return True
        gradient, factor = self.gradients.read(y), self.operation.back
        if y.diff_memory is not x.diff_memory:
            self.gradients.write(x, lambda out: self.engine.scale(factor, gradient, out))
        elif factor != 1.0:
            self.engine.scale(factor, gradient, gradient)
            self.twins.wrote(x.diff_memory, x, gradient)
        return True


class DistanceHandler(Handler):
    """EuclideanLoss: between feature maps in the blocked layout, else (Gram matrices) on planar arrays."""

    def __init__(self, runtime: Runtime, step: Step) -> None:
        super().__init__(runtime, step)
        self.difference: Blocked | FloatArray | None = None

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        a, b = bottom
        if a.shape != b.shape or not a.dtype == b.dtype == np.float32 or 0 in a.shape:
            self.difference = None
            return False
        if is_feature_map(a) and self.twins.is_fresh(a.data_memory, a):
            total = self._blocked_distance(a, b)
        else:
            total = self._planar_distance(a, b)
        top[0].data[...] = total / (2 * a.shape[0])
        return True

    def _blocked_distance(self, a: BlobLike, b: BlobLike) -> float:
        kept = self.difference
        if not isinstance(kept, Blocked) or not fits(kept, a.shape):
            kept = self.engine.blocked(a.shape[0], a.shape[1], extent_of(a.shape))
        left, right = self.twins.read(a.data_memory, a), self.twins.read(b.data_memory, b)
        self.engine.combine(1.0, left, -1.0, right, kept)
        self.difference = kept
        return self.engine.dot(kept, kept)

    def _planar_distance(self, a: BlobLike, b: BlobLike) -> float:
        kept = self.difference
        if isinstance(kept, Blocked) or kept is None or kept.shape != a.shape:
            kept = self.engine.array(a.shape)
        left, right = self.twins.planar(a.data_memory, a), self.twins.planar(b.data_memory, b)
        place, total = address(kept), ct.c_double()
        operands = (1.0, address(left), -1.0, address(right), place, kept.size)
        self.engine.call("nst_axpby", *operands)
        self.engine.call("nst_dot", place, place, kept.size, ct.addressof(total))
        self.engine.settle()
        self.difference = kept
        return total.value

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        difference = self.difference
        if difference is None or difference.shape != bottom[0].shape:
            return False
        share = float(top[0].diff) / bottom[0].shape[0]
        for sign, needed, blob in zip((1.0, -1.0), propagate_down, bottom, strict=True):
            if not needed:
                continue
            if isinstance(difference, Blocked):
                self.gradients.contribute(blob, partial(self._spread, sign * share, difference))
            else:
                target = self.twins.overwrite_planar(blob.diff_memory, blob)
                operands = (sign * share, address(difference), address(target), target.size)
                self.engine.call("nst_scale", *operands)
        return True

    def _spread(self, share: float, difference: Blocked, out: Blocked, adds: bool) -> None:
        if adds:
            self.engine.combine(share, difference, 1.0, out, out)
        else:
            self.engine.scale(share, difference, out)
