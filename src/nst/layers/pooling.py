"""Pooling: the maximum or the mean of each window.

Formula   MAX: y = max of the window, its gradient goes to the first winner in row-major order
          AVE: y = sum / window size clipped to the picture plus padding (padding counts)
Bottoms   x (N, C, H, W)
Tops      y (N, C, OH, OW), OH = ceil((H + 2p - k) / s) + 1, less one if the last window would start in
          the far padding; optional mask (like y): flat index h * W + w of the winner, MAX only
Params    pooling_param { pool = MAX | AVE  kernel_size | kernel_h, kernel_w  stride = 1  pad = 0
          global_pooling = false: the window is the whole map  round_mode = CEIL | FLOOR }; `engine` changes
          nothing here. STOCHASTIC is refused (Caffe has it on the GPU only)
Gradient  exact
Errors    no kernel, kernel beside global_pooling, pad >= kernel (setup); not 4-D (reshape)
Source    Caffe PoolingLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import PoolGeometry
from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import pool_out
from nst.errors import NetError
from nst.proto import PoolingParameter


class Pooling(Layer):
    type = "Pooling"
    tops = Arity.between(1, 2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.pooling_param
        if p.pool == PoolingParameter.STOCHASTIC:
            raise self.net_error("STOCHASTIC pooling is not available (expected MAX or AVE)")
        self.takes_max = p.pool == PoolingParameter.MAX
        if len(self.param.top) > 1 and not self.takes_max:
            raise self.net_error("a second top, the mask, is only made by MAX pooling (got AVE)")
        self.is_global: bool = p.global_pooling
        self.rounds_up = p.round_mode == PoolingParameter.CEIL
        self._check_rank(bottom_shapes[0])
        self.window = _read_window(p, self.name)
        self.argmax = self.backend.zeros((0,), "int32")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        self._check_rank(shape)
        geometry = self._geometry(shape)
        out = tuple(
            pool_out(size, k, s, p, ceil=self.rounds_up)
            for size, k, s, p in zip(
                shape[2:], geometry.kernel, geometry.stride, geometry.pad, strict=True
            )
        )
        if any(size < 1 for size in out):
            raise self.shape_error(
                f"the window does not fit (got bottom {shape} with kernel {geometry.kernel}, "
                f"pad {geometry.pad}, which would give {out})"
            )
        return [(*shape[:2], *out)] * len(self.param.top)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        geometry = self._geometry(bottom[0].shape)
        if not self.takes_max:
            self.backend.avg_pool(bottom[0].data, geometry, top[0].data)
            return
        if self.argmax.shape != top[0].shape:
            self.argmax = self.backend.zeros(top[0].shape, "int32")
        self.backend.max_pool(bottom[0].data, geometry, top[0].data, self.argmax)
        if len(top) > 1:
            top[1].data[...] = self.argmax

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        geometry = self._geometry(bottom[0].shape)
        if self.takes_max:
            self.backend.max_pool_backward(top[0].diff, self.argmax, geometry, bottom[0].diff)
        else:
            self.backend.avg_pool_backward(top[0].diff, geometry, bottom[0].diff)

    def _geometry(self, shape: Shape) -> PoolGeometry:
        if self.is_global:
            return PoolGeometry((shape[2], shape[3]), (1, 1), (0, 0))
        return self.window

    def _check_rank(self, shape: Shape) -> None:
        if len(shape) != 4:
            raise self.shape_error(
                "Input must have 4 axes, corresponding to (num, channels, height, width) "
                f"(got {shape})"
            )


def _read_window(p: PoolingParameter, layer: str) -> PoolGeometry:
    """The window of the parameters; (1, 1) stands in for a global one, whose size is the bottom's."""
    kernel = _pair(p, "kernel_size", "kernel_h", "kernel_w", 0)
    stride = _pair(p, "stride", "stride_h", "stride_w", 1)
    pad = _pair(p, "pad", "pad_h", "pad_w", 0)
    given = any(p.HasField(name) for name in ("kernel_size", "kernel_h", "kernel_w"))
    if p.global_pooling:
        if given:
            raise NetError(
                "With Global_pooling: true Filter size cannot specified (got a kernel size)",
                layer=layer,
            )
        if any(pad) or any(step != 1 for step in stride):
            raise NetError(
                "With Global_pooling: true; only pad = 0 and stride = 1 "
                f"(got pad {pad}, stride {stride})",
                layer=layer,
            )
        return PoolGeometry((1, 1), (1, 1), (0, 0))
    if p.HasField("kernel_size") == (p.HasField("kernel_h") or p.HasField("kernel_w")):
        raise NetError(
            "Filter size is kernel_size OR kernel_h and kernel_w; not both (got "
            f"{'both' if given else 'neither'})",
            layer=layer,
        )
    if min(kernel) < 1:
        raise NetError(f"Filter dimensions cannot be zero. (got {kernel})", layer=layer)
    if min(stride) < 1:
        raise NetError(f"stride must be positive (got {stride})", layer=layer)
    if any(a >= k for a, k in zip(pad, kernel, strict=True)):
        raise NetError(f"pad must be smaller than the kernel (got {pad} vs. {kernel})", layer=layer)
    return PoolGeometry(kernel, stride, pad)


def _pair(p: PoolingParameter, both: str, high: str, wide: str, default: int) -> tuple[int, int]:
    if p.HasField(high) or p.HasField(wide):
        return getattr(p, high), getattr(p, wide)
    value = getattr(p, both) if p.HasField(both) else default
    return value, value
