"""CpuRunner: runs the layers of one net in the blocked layout (see nst.backend.operations.Runner)."""

from __future__ import annotations

from nst.backend.cpu import (
    border_step,
    channel_steps,
    convolution_step,
    feature_steps,
    loss_steps,
    pooling_step,
)
from nst.backend.cpu.batch import Batch
from nst.backend.cpu.engine import Engine
from nst.backend.cpu.gradients import Gradients
from nst.backend.cpu.handler import Blobs, Flags, Handler, Runtime
from nst.backend.cpu.twins import Twins
from nst.backend.operations import (
    AddUp,
    BatchNormalise,
    Border,
    ChannelScale,
    Convolve,
    Distance,
    Fork,
    Gate,
    GradientSlots,
    GramMatrix,
    Join,
    Multiply,
    Normalise,
    Pool,
    Rectify,
    Step,
)

HANDLERS: dict[type, type[Handler]] = {
    Convolve: convolution_step.ConvolveHandler,
    Rectify: convolution_step.RectifyHandler,
    BatchNormalise: channel_steps.BatchNormHandler,
    ChannelScale: channel_steps.ScaleHandler,
    Pool: pooling_step.PoolHandler,
    Border: border_step.BorderHandler,
    Normalise: feature_steps.NormaliseHandler,
    GramMatrix: feature_steps.GramHandler,
    Fork: feature_steps.ForkHandler,
    Join: feature_steps.JoinHandler,
    AddUp: feature_steps.AddHandler,
    Gate: loss_steps.GateHandler,
    Multiply: loss_steps.MultiplyHandler,
    Distance: loss_steps.DistanceHandler,
}


class CpuRunner:
    """One net's runner; handlers keep what a layer remembers from forward to backward.

    bf16: convolutions multiply in it where they can (see convolution.py).
    """

    def __init__(
        self, engine: Engine, slots: GradientSlots | None = None, *, bf16: bool = False
    ) -> None:
        self.batch = Batch(engine)
        twins = Twins(self.batch)
        self._runtime = Runtime(self.batch, twins, Gradients(twins, slots), bf16)
        self._handlers: dict[int, Handler] = {}

    def forward(self, step: Step | None, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        if step is None:
            self.flush()
            return False
        with self.batch.open():
            self._runtime.flush_unless(step.operation, bottom[0].data_memory)
            done = self._handler(step).forward(bottom, top, params)
            if not done:
                self._runtime.flush()  # the layer's own code must find what waits for it
        if not done and not isinstance(step.operation, Fork):  # a Split's looks at no values
            self.batch.settle()
        return done

    def backward(
        self,
        step: Step | None,
        top: Blobs,
        propagate_down: Flags,
        bottom: Blobs,
        params: Blobs,
        params_propagate_down: Flags,
    ) -> bool:
        if step is None:
            self.flush()
            return False
        with self.batch.open():
            self._runtime.flush_unless(step.operation, top[0].diff_memory)
            done = self._handler(step).backward(
                top, propagate_down, bottom, params, params_propagate_down
            )
            if not done:
                self._runtime.flush()
        if not done:
            self.batch.settle()
            for blob, needed in zip(bottom, propagate_down, strict=True):
                if needed:
                    self._runtime.gradients.leave(blob)
        return done

    def flush(self) -> None:
        self._runtime.flush()
        self.batch.settle()

    def finish(self) -> None:
        self.flush()
        self._runtime.gradients.end_of_run()

    def _handler(self, step: Step) -> Handler:
        if step.index not in self._handlers:
            self._handlers[step.index] = HANDLERS[type(step.operation)](self._runtime, step)
        return self._handlers[step.index]
