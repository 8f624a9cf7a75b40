"""Pooling on the engine."""

from __future__ import annotations

import ctypes as ct
from functools import partial

from nst.backend.cpu.engine import Blocked, GateBits
from nst.backend.cpu.handler import Blobs, Flags, Handler, Pooled, Runtime, Waiting
from nst.backend.cpu.library import RELU, Pool
from nst.backend.cpu.twins import extent_of, fits, is_feature_map, is_touched
from nst.backend.geometry import PoolGeometry
from nst.backend.operations import BlobLike, Rectify, Step


def pool_sizes(source: Blocked, target: Blocked, window: PoolGeometry) -> Pool:
    """The C structure of a pooling between these arrays."""
    return Pool(
        *(source.images, source.channels, *source.extent, *target.extent),
        *(*window.kernel, *window.stride, *window.pad),
        *(source.image_stride, target.image_stride),
    )


class PoolHandler(Handler):
    """Pooling. The maximum of 2x2 leaves its backward pass to the rectified convolution before it."""

    def __init__(self, runtime: Runtime, step: Step) -> None:
        super().__init__(runtime, step)
        self.winner: Blocked | None = None
        self.gate: GateBits | None = None
        self.version = 0
        """Of the values that the gate was made from."""

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        x, y = bottom[0], top[0]
        if not is_feature_map(x):
            return False
        waiting, target = self.runtime.take(x.data_memory), self.twins.target(y.data_memory, y)
        if waiting is not None and waiting.poolable is not None:
            waiting.poolable.write(target, self._gate_for(x))
            self.version = self.twins.put_off(x.data_memory, x, waiting.poolable.remake)
            self.twins.wrote(y.data_memory, y, target)
            return True
        source = self.twins.read(x.data_memory, x)
        sizes = ct.byref(pool_sizes(source, target, self._window(x)))
        places = source.address, target.address
        if self.operation.gates:
            gate = ct.byref(self._gate_for(x).native)
            self.engine.call("nst_max_pool_gated", sizes, *places, gate, RELU)
            self.version = self.twins.of(x.data_memory).version
        elif self.operation.takes_max:
            if self.winner is None or not fits(self.winner, y.shape):
                self.winner = self.engine.blocked(y.shape[0], y.shape[1], extent_of(y.shape))
            self.engine.call("nst_max_pool", sizes, *places, self.winner.address)
        else:
            self.engine.call("nst_avg_pool", sizes, *places)
        self.twins.wrote(y.data_memory, y, target)
        return True

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        x, y = bottom[0], top[0]
        known = self.winner or self.gate or not self.operation.takes_max
        if not is_feature_map(x) or not known:
            return False
        if not propagate_down[0]:
            return True
        gradient = self.gradients.read(y)
        spread = partial(self._spread, gradient, x)
        write = partial(self.gradients.write, x, spread)
        if self.gate is not None and self._is_unchanged(x):
            pooled = Pooled(gradient, self.gate, write)
            self.runtime.waiting = Waiting(
                x.diff_memory, lambda _: write(), (Rectify,), pooled=pooled
            )
        else:
            write()
        return True

    def _spread(self, gradient: Blocked, x: BlobLike, target: Blocked) -> None:
        sizes = ct.byref(pool_sizes(target, gradient, self._window(x)))
        places = gradient.address, target.address
        if self.gate is not None:
            gate = ct.byref(self.gate.native)
            self.engine.call("nst_max_pool_gated_backward", sizes, places[0], gate, places[1])
        elif self.winner is not None:
            winner = self.winner.address
            self.engine.call("nst_max_pool_backward", sizes, places[0], winner, places[1])
        else:
            self.engine.call("nst_avg_pool_backward", sizes, *places)

    def _gate_for(self, x: BlobLike) -> GateBits:
        if self.gate is None or not self.gate.fits(x.shape):
            self.gate = self.engine.gate(x.shape)
        return self.gate

    def _is_unchanged(self, x: BlobLike) -> bool:
        """Whether the convolution's values are still those that were pooled, so that one gate serves both."""
        memory = x.data_memory
        return not is_touched(memory) and self.twins.of(memory).version == self.version

    def _window(self, x: BlobLike) -> PoolGeometry:
        window: PoolGeometry | None = self.operation.window
        return window or PoolGeometry(extent_of(x.shape), (1, 1), (0, 0))
