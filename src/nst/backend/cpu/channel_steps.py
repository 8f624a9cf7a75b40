"""BatchNorm and Scale on the engine, alone or as one with each other and the ReLU after them.

Forward they are composed into one map per channel, which is applied once, to what the first of them read.
Backward the last of them takes the sums that all need while it masks and scales the gradient in place;
BatchNorm then has one pass left. What a map was applied to is kept: a layer in place gets another buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from nst.backend.cpu.engine import Blocked
from nst.backend.cpu.handler import Blobs, Flags, Handler, Runtime, Waiting
from nst.backend.cpu.per_channel import (
    ChannelMap,
    DoubleArray,
    Sums,
    gradient_sums,
    moments,
    spread,
)
from nst.backend.cpu.twins import fits, is_feature_map
from nst.backend.operations import BlobLike, ChannelScale, Rectify, Step

Fill = Callable[[Blocked], None]


class ChannelHandler(Handler):
    """What BatchNorm and Scale share. `input` is the map that gives the layer's bottom."""

    def __init__(self, runtime: Runtime, step: Step) -> None:
        super().__init__(runtime, step)
        self.input: ChannelMap | None = None

    def _source(self, x: BlobLike, y: BlobLike) -> Blocked:
        """The bottom's values, in a buffer that outlives the forward pass where backward needs them."""
        if self.operation.keeps_input and x.data_memory is y.data_memory:
            spare = None if self.input is None else self.input.source
            return self.twins.exchange(x.data_memory, x, spare)
        return self.twins.read(x.data_memory, x)

    def _emit(self, y: BlobLike, result: ChannelMap) -> None:
        finish = partial(self._finish, y, result)
        if self.operation.joined:
            partners = (ChannelScale, Rectify)
            self.runtime.waiting = Waiting(y.data_memory, finish, partners, result)
        else:
            finish(False)

    def _finish(self, y: BlobLike, result: ChannelMap, rectify: bool) -> None:
        target = self.twins.target(y.data_memory, y)
        result.apply(self.engine, target, rectify=rectify)
        self.twins.wrote(y.data_memory, y, target)

    def _knows(self, x: BlobLike) -> bool:
        """Whether the last forward of this layer ran here, on this shape."""
        return self.input is not None and fits(self.input.source, x.shape)

    def _write(self, x: BlobLike, y: BlobLike, gradient: Blocked, fill: Fill) -> None:
        """Writes the bottom's gradient; in place of the top's if the two are one."""
        if x.diff_memory is y.diff_memory:
            fill(gradient)
            self.twins.wrote(x.diff_memory, x, gradient)
        else:
            self.gradients.write(x, fill)

    def _mask(self, y: BlobLike, gradient: Blocked, gate: Blocked | None) -> None:
        """Rectifies the top's gradient in a pass of its own."""
        if gate is not None:
            self.engine.relu_backward(gradient, gate, 0.0, gradient)
            self.twins.wrote(y.diff_memory, y, gradient)

    def _take_gate(self, y: BlobLike) -> Blocked | None:
        """The rectified top, if its mask is still to be applied to the gradient."""
        waiting = self.runtime.take(y.diff_memory)
        return None if waiting is None else self.twins.read(y.data_memory, y)


class BatchNormHandler(ChannelHandler):
    """BatchNorm; its statistics are taken before anything is put off."""

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        x, y = bottom[0], top[0]
        if not is_feature_map(x):
            self.input = None
            return False
        source, rule = self._source(x, y), self.operation
        if rule.uses_stored:
            mean, variance = _stored(params)
        else:
            mean, variance = moments(self.engine, source)
            _accumulate(params, mean, variance, x.count // x.shape[1], rule.fraction)
        inverse = 1 / np.sqrt(variance + rule.eps)
        self.input = ChannelMap(source, mean, inverse, np.zeros_like(mean))
        self._emit(y, self.input)
        return True

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        x, y = bottom[0], top[0]
        if not self._knows(x) or self.input is None:
            return False
        if not propagate_down[0]:
            return True
        known = self.input.sums if self.twins.is_fresh(y.diff_memory, y) else None
        gate, gradient = self._take_gate(y), self.gradients.read(y)
        self.input.sums = None
        if self.operation.uses_stored:
            self._scale(x, y, gradient, gate, self.input)
        else:
            sums = known or self._sums(y, gradient, gate, self.input)
            fill = partial(spread, self.engine, gradient, self.input, sums)
            self._write(x, y, gradient, fill)
        return True

    def _scale(
        self, x: BlobLike, y: BlobLike, gradient: Blocked, gate: Blocked | None, norm: ChannelMap
    ) -> None:
        """With stored statistics the layer is a fixed map: the gradient is multiplied, no more."""
        self._mask(y, gradient, gate)

        def fill(out: Blocked) -> None:
            gradient_sums(
                self.engine, gradient, None, norm, factor=norm.factor, out=out, sums=False
            )

        self._write(x, y, gradient, fill)

    def _sums(self, y: BlobLike, gradient: Blocked, gate: Blocked | None, norm: ChannelMap) -> Sums:
        if gate is None:
            return gradient_sums(self.engine, gradient, None, norm)
        sums = gradient_sums(self.engine, gradient, gate, norm, out=gradient)
        self.twins.wrote(y.diff_memory, y, gradient)
        return sums


class ScaleHandler(ChannelHandler):
    """Scale with one factor, and maybe one bias, per channel."""

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        x, y = bottom[0], top[0]
        waiting = self.runtime.take(x.data_memory)
        if waiting is not None:
            self.input = waiting.map
        elif is_feature_map(x):
            self.input = ChannelMap.identity(self._source(x, y))
        else:
            self.input = None
        if self.input is None:
            return False
        bias = params[1].data if len(params) > 1 else None
        self._emit(y, self.input.scaled(params[0].data, bias))
        return True

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        x, y, given = bottom[0], top[0], self.input
        if given is None or not self._knows(x):
            return False
        gate, gradient = self._take_gate(y), self.gradients.read(y)
        if not (propagate_down[0] and x.diff_memory is y.diff_memory):
            self._mask(y, gradient, gate)  # or the top would be left without its mask
            gate = None
        factor = params[0].data.astype(np.float64)
        sums = np.zeros(0), np.zeros(0)

        def fill(out: Blocked) -> None:
            nonlocal sums
            sums = gradient_sums(self.engine, gradient, gate, given, factor=factor, out=out)

        if propagate_down[0]:
            self._write(x, y, gradient, fill)
        else:
            sums = gradient_sums(self.engine, gradient, gate, given)
        given.sums = factor * sums[0], factor * sums[1]
        if wanted[0]:
            params[0].diff[...] += given.factor * sums[1] + given.offset * sums[0]
        if len(params) > 1 and wanted[1]:
            params[1].diff[...] += sums[0]
        return True


def _stored(params: Blobs) -> tuple[DoubleArray, DoubleArray]:
    """Mean and variance from the sums that BatchNorm stores; zeros while there are none."""
    mean, variance, weight = (blob.data.astype(np.float64) for blob in params)
    return (mean / weight, variance / weight) if weight[0] else (mean * 0, variance * 0)


def _accumulate(
    params: Blobs, mean: DoubleArray, variance: DoubleArray, values: int, fraction: float
) -> None:
    """Adds this batch to the stored sums, the older ones losing weight."""
    unbiased = values / (values - 1) if values > 1 else 1.0
    for blob, new in zip(params, (mean, variance * unbiased, 1.0), strict=True):
        stored = blob.data
        stored *= fraction
        stored += new
