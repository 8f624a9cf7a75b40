"""Convolution and ReLU on the engine, alone or as one.

Forward, a rectified convolution waits for its ReLU and writes rectified values at once, and in one bit each
whether they are positive. Backward, where nobody will ask for the masked gradient, the ReLU waits for its
convolution, whose kernels load the gradient through that gate; and so does a maximum pooling behind the ReLU,
whose winners are the gate: the quarter of the numbers that it has is all that is read.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from nst.backend.cpu.convolution import Convolution, Problem, Weights
from nst.backend.cpu.engine import Blocked, FloatArray, GateBits
from nst.backend.cpu.filters import bias_of, filters_of
from nst.backend.cpu.handler import Blobs, Flags, Handler, Poolable, Runtime, Waiting
from nst.backend.cpu.library import ACCUMULATE, POOLED, RELU
from nst.backend.cpu.twins import extent_of, is_feature_map, whole_blocks
from nst.backend.geometry import ConvGeometry
from nst.backend.operations import (
    BatchNormalise,
    BlobLike,
    ChannelScale,
    Convolve,
    Pool,
    Rectify,
    Step,
)


class ConvolveHandler(Handler):
    """Convolve, and the fused half of Rectify that belongs to it."""

    def __init__(self, runtime: Runtime, step: Step) -> None:
        super().__init__(runtime, step)
        geometry: ConvGeometry = self.operation.geometry
        self.group = geometry.group
        self.plain = ConvGeometry(geometry.kernel, geometry.stride, geometry.pad, geometry.dilation)
        self._runs: list[Convolution] = []
        self._shapes: tuple[object, object] = ((), ())

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        if not self._accepts(bottom[0], top[0]):
            return False
        finish = partial(self._forward, bottom[0], top[0], params)
        if self.operation.rectified:
            poolable = self._poolable(bottom[0], top[0], params) if self.operation.pooled else None
            waiting = Waiting(top[0].data_memory, finish, (Rectify,), poolable=poolable)
            self.runtime.waiting = waiting
        else:
            finish(False)
        return True

    def _forward(self, x: BlobLike, y: BlobLike, params: Blobs, rectify: bool) -> None:
        runs = self._prepared(x, y, params)
        bias = bias_of(self.twins, params[1]) if len(params) > 1 else None
        source, target = self._input(x), self.twins.target(y.data_memory, y)
        gated = rectify and self.operation.keeps_gate
        gate = self.twins.gate_target(y.data_memory, y) if gated else None
        for group, run in enumerate(runs):
            begin, count = self._outputs(run, group)
            run.forward(
                self._part(source, group, run.problem.in_channels),
                self._weights(params, begin, count),
                None if bias is None else bias + begin * 4,
                target.block_range(begin // 16, count) if self.group > 1 else target,
                gate.block_range(begin // 16, count) if gate and self.group > 1 else gate,
                RELU if rectify else 0,
            )
        self.twins.wrote(y.data_memory, y, target, gate)

    def _poolable(self, x: BlobLike, y: BlobLike, params: Blobs) -> Poolable | None:
        if self.group > 1 or not self._prepared(x, y, params)[0].writes_pooled:
            return None
        top = weakref.ref(y)  # what remakes its values must not keep it alive

        def write(target: Blocked, gate: GateBits) -> None:
            run = self._prepared(x, y, params)[0]
            bias = bias_of(self.twins, params[1]) if len(params) > 1 else None
            weights = self._weights(params, 0, run.problem.out_channels)
            run.forward(self._input(x), weights, bias, target, gate, RELU | POOLED)

        def remake() -> None:
            blob = top()
            if blob is not None:
                self._forward(x, blob, params, True)

        return Poolable(write, remake)

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        x, y = bottom[0], top[0]
        if not self._accepts(x, y):
            return False
        waiting = self.runtime.take(y.diff_memory)
        runs = self._prepared(x, y, params)
        pooled = None if waiting is None else waiting.pooled
        if pooled is not None and (any(wanted) or self.group > 1 or not runs[0].reads_pooled):
            pooled.spread()
            pooled = None
        gradient = self.gradients.read(y) if pooled is None else pooled.gradient
        if any(wanted):
            self._weight_gradient(runs, x, gradient, params, wanted)
        if propagate_down[0] and pooled is not None:
            self._data_gradient(runs, x, gradient, pooled.gate, params, POOLED)
        elif propagate_down[0]:
            gate = None if waiting is None else self.twins.gate(y.data_memory, y)
            self._data_gradient(runs, x, gradient, gate, params, 0)
        if waiting is not None:
            self.gradients.retire(y)
        return True

    def _data_gradient(
        self,
        runs: list[Convolution],
        x: BlobLike,
        gradient: Blocked,
        gate: GateBits | None,
        params: Blobs,
        form: int,
    ) -> None:
        if runs[0].problem.reads_picture:
            picture = self.twins.overwrite_planar(x.diff_memory, x)
            count = runs[0].problem.out_channels
            runs[0].backward(gradient, gate, self._weights(params, 0, count), picture, 0)
            return
        sink = self.gradients.open(x)
        for group, run in enumerate(runs):
            begin, count = self._outputs(run, group)
            run.backward(
                gradient.block_range(begin // 16, count) if self.group > 1 else gradient,
                gate.block_range(begin // 16, count) if gate and self.group > 1 else gate,
                self._weights(params, begin, count),
                self._part(sink.buffer, group, run.problem.in_channels),
                form | (ACCUMULATE if sink.adds else 0),
            )
        self.gradients.close(sink)

    def _weight_gradient(
        self, runs: list[Convolution], x: BlobLike, gradient: Blocked, params: Blobs, wanted: Flags
    ) -> None:
        source = self._input(x)
        weights = params[0].diff if wanted[0] else None
        bias = params[1].diff if len(params) > 1 and wanted[1] else None
        for group, run in enumerate(runs):
            begin, count = self._outputs(run, group)
            run.weight_gradient(
                self._part(source, group, run.problem.in_channels),
                gradient.block_range(begin // 16, count) if self.group > 1 else gradient,
                None if weights is None else weights[begin : begin + count],
                None if bias is None else bias[begin : begin + count],
            )

    def _accepts(self, x: BlobLike, y: BlobLike) -> bool:
        if not (is_feature_map(x) and is_feature_map(y)):
            return False
        channels = x.shape[1] // self.group, y.shape[1] // self.group
        return self.group == 1 or all(whole_blocks(count) for count in channels)

    def _input(self, x: BlobLike) -> Blocked | FloatArray:
        """A picture stays planar; everything else is blocked."""
        if self.group == 1 and x.shape[1] <= 4:
            return self.twins.planar(x.data_memory, x)
        return self.twins.read(x.data_memory, x)

    def _part(self, x: Blocked | FloatArray, group: int, channels: int) -> Blocked | FloatArray:
        if self.group == 1 or not isinstance(x, Blocked):
            return x
        return x.block_range(group * channels // 16, channels)

    def _outputs(self, run: Convolution, group: int) -> tuple[int, int]:
        return group * run.problem.out_channels, run.problem.out_channels

    def _weights(self, params: Blobs, begin: int, count: int) -> Weights:
        """The filters of some outputs, for the moment when they are packed."""
        twins, blob = self.twins, params[0]
        return lambda: twins.planar(blob.data_memory, blob)[begin : begin + count]

    def _prepared(self, x: BlobLike, y: BlobLike, params: Blobs) -> list[Convolution]:
        """One Convolution per group, for these shapes and the present weights. Must come before our own
        view of the weights exists, or they would count as held by somebody."""
        packs = filters_of(params[0])
        if self._shapes != (x.shape, y.shape):
            channels = x.shape[1] // self.group, y.shape[1] // self.group
            extents = extent_of(x.shape), extent_of(y.shape)
            problem = Problem(x.shape[0], *channels, *extents, self.plain)
            self._runs = [
                Convolution(self.engine, problem, packs, group, bf16=self.runtime.bf16)
                for group in range(self.group)
            ]
            self._shapes = (x.shape, y.shape)
        for run in self._runs:
            run.packs = packs
        return self._runs


class RectifyHandler(Handler):
    """ReLU: the second half of a rectified convolution, or a pass of its own."""

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        x, y = bottom[0], top[0]
        waiting = self.runtime.take(x.data_memory)
        if waiting is not None and waiting.poolable is not None:
            finish = partial(_with_relu, waiting.finish)
            self.runtime.waiting = replace(waiting, finish=finish, partners=(Pool,))
            return True
        if waiting is not None:
            waiting.finish(True)
            return True
        if not self._accepts(x):
            return False
        source = self.twins.read(x.data_memory, x)
        target = source if y.data_memory is x.data_memory else self.twins.target(y.data_memory, y)
        self.engine.relu(source, self.operation.slope, target)
        self.twins.wrote(y.data_memory, y, target)
        return True

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        if not propagate_down[0]:
            return True
        x, y = bottom[0], top[0]
        pooled = self.runtime.take(y.diff_memory)
        if pooled is not None:  # its gate has this layer's mask in it
            self.runtime.waiting = replace(pooled, partners=(Convolve,))
            return True
        if not self._accepts(x) or not self.twins.is_fresh(y.diff_memory, y):
            return False
        finish = partial(self._backward, x, y)
        if self.operation.defers_mask:
            partners = (Convolve, BatchNormalise, ChannelScale)
            self.runtime.waiting = Waiting(y.diff_memory, finish, partners)
        else:
            finish(False)
        return True

    def _backward(self, x: BlobLike, y: BlobLike, fused: bool) -> None:
        gradient, values = self.gradients.read(y), self.twins.read(x.data_memory, x)
        slope = self.operation.slope
        if y.diff_memory is x.diff_memory:
            self.engine.relu_backward(gradient, values, slope, gradient)
            self.twins.wrote(x.diff_memory, x, gradient)
        else:
            self.gradients.write(
                x, lambda out: self.engine.relu_backward(gradient, values, slope, out)
            )

    def _accepts(self, x: BlobLike) -> bool:
        return is_feature_map(x) and self.twins.is_fresh(x.data_memory, x)


def _with_relu(finish: Callable[[bool], None], _: bool) -> None:
    finish(True)
