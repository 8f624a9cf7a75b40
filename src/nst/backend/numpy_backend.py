"""The reference backend: plain numpy, no compiled code of ours, correctness over speed.

Every other backend is tested against this one, and this one against naive loops and the real Caffe. It asks
its array module `xp` for everything, so that what another backend has no kernel for runs here on arrays of
its own.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from threadpoolctl import ThreadpoolController

from nst.backend import windows
from nst.backend.geometry import ConvGeometry
from nst.backend.interface import Backend
from nst.backend.numpy_pool import NumpyPooling

FloatArray = NDArray[Any]


@functools.cache
def _thread_pools() -> ThreadpoolController:
    """The BLAS that numpy uses, found once: looking for it takes milliseconds."""
    return ThreadpoolController()


class NumpyBackend(NumpyPooling, Backend):
    """Host arrays and BLAS through numpy; supports float32 and float64."""

    name = "numpy"
    xp: Any = np

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> FloatArray:
        return np.zeros(shape, dtype)

    def asarray(self, host: Any, dtype: DTypeLike) -> FloatArray:
        return np.ascontiguousarray(host, dtype)

    def to_host(self, array: FloatArray) -> FloatArray:
        return array

    def synchronize(self) -> None:
        return None

    def serial_blas(self) -> AbstractContextManager[object]:
        limited: AbstractContextManager[object] = _thread_pools().limit(limits=1, user_api="blas")
        return limited

    # ---- convolution: im2col by chunks and one GEMM per group ----------------------------------

    def conv(
        self,
        x: FloatArray,
        w: FloatArray,
        bias: FloatArray | None,
        geometry: ConvGeometry,
        out: FloatArray,
    ) -> None:
        kernels = w.reshape(geometry.group, w.shape[0] // geometry.group, -1)  # (G, O/G, C/G*taps)
        extent = windows.padded_extent(x.shape[2:], geometry)
        for image, result in zip(x, out, strict=True):
            padded = windows.pad_spatial(image, geometry.pad, extent, self.xp)
            for kernel, part, rows in _groups(kernels, padded, result):
                for a, b in windows.chunks(rows.shape[1:], kernel.shape[1], x.itemsize):
                    cols = windows.columns(part, geometry, a, (b - a, *rows.shape[2:]), self.xp)
                    rows[:, a:b] = (kernel @ cols).reshape(rows[:, a:b].shape)
        if bias is not None:
            out += bias.reshape(1, -1, *(1 for _ in geometry.kernel))

    def conv_backward_data(
        self, dy: FloatArray, w: FloatArray, geometry: ConvGeometry, dx: FloatArray
    ) -> None:
        kernels = w.reshape(geometry.group, w.shape[0] // geometry.group, -1)
        extent = windows.padded_extent(dx.shape[2:], geometry)
        for image, result in zip(dy, dx, strict=True):
            padded = self.xp.zeros((dx.shape[1], *extent), dx.dtype)
            for kernel, part, rows in _groups(kernels, padded, image):
                for a, b in windows.chunks(rows.shape[1:], kernel.shape[1], dy.itemsize):
                    cols = kernel.T @ rows[:, a:b].reshape(len(rows), -1)
                    windows.add_columns(cols, part, geometry, a, (b - a, *rows.shape[2:]))
            result[...] = padded[windows.inner(geometry.pad, dx.shape[2:])]

    def conv_backward_weights(
        self, x: FloatArray, dy: FloatArray, geometry: ConvGeometry, dw: FloatArray
    ) -> None:
        sums = dw.reshape(geometry.group, dw.shape[0] // geometry.group, -1)
        extent = windows.padded_extent(x.shape[2:], geometry)
        for image, grad in zip(x, dy, strict=True):
            padded = windows.pad_spatial(image, geometry.pad, extent, self.xp)
            for total, part, rows in _groups(sums, padded, grad):
                for a, b in windows.chunks(rows.shape[1:], total.shape[1], x.itemsize):
                    cols = windows.columns(part, geometry, a, (b - a, *rows.shape[2:]), self.xp)
                    total += rows[:, a:b].reshape(len(rows), -1) @ cols.T

    # ---- pointwise and across channels ---------------------------------------------------------

    def relu(self, x: FloatArray, negative_slope: float, out: FloatArray) -> None:
        if negative_slope == 0.0:
            self.xp.maximum(x, 0, out=out)
        else:
            self.xp.add(self.xp.maximum(x, 0), negative_slope * self.xp.minimum(x, 0), out=out)

    def relu_backward(
        self, dy: FloatArray, x: FloatArray, negative_slope: float, dx: FloatArray
    ) -> None:
        if negative_slope == 0.0:
            self.xp.multiply(dy, x > 0, out=dx)
        else:
            slope = (x > 0) + x.dtype.type(negative_slope) * (x <= 0)
            self.xp.multiply(dy, slope, out=dx)

    def lrn(
        self,
        x: FloatArray,
        size: int,
        alpha: float,
        beta: float,
        k: float,
        scale: FloatArray,
        out: FloatArray,
    ) -> None:
        scale[...] = k + (alpha / size) * _channel_window_sum(x * x, size, self.xp)
        self.xp.multiply(x, scale**-beta, out=out)

    def lrn_backward(
        self,
        x: FloatArray,
        out: FloatArray,
        scale: FloatArray,
        dy: FloatArray,
        size: int,
        alpha: float,
        beta: float,
        dx: FloatArray,
    ) -> None:
        cross = _channel_window_sum(dy * out / scale, size, self.xp)
        dx[...] = dy * scale**-beta - (2.0 * alpha * beta / size) * x * cross

    # ---- products and sums ---------------------------------------------------------------------

    def matmul(
        self, a: FloatArray, b: FloatArray, out: FloatArray, *, accumulate: bool = False
    ) -> None:
        if accumulate:
            out += a @ b
        else:
            self.xp.matmul(a, b, out=out)

    def gram(self, x: FloatArray, scale: float, out: FloatArray) -> None:
        self.xp.matmul(x, x.transpose(0, 2, 1), out=out)
        out *= scale

    def gram_backward(self, d: FloatArray, x: FloatArray, scale: float, dx: FloatArray) -> None:
        self.xp.matmul((d + d.transpose(0, 2, 1)) * d.dtype.type(scale), x, out=dx)

    def dot(self, a: FloatArray, b: FloatArray) -> float:
        return float(np.einsum("i,i->", a.reshape(-1), b.reshape(-1), dtype=np.float64))

    def axpy(self, alpha: float, x: FloatArray, y: FloatArray) -> None:
        y += x.dtype.type(alpha) * x


def _groups(
    kernels: FloatArray, wide: FloatArray, deep: FloatArray
) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """Cuts (kernels, input channels, output channels) into the convolution's groups, as views."""
    group = len(kernels)
    inputs = wide.reshape(group, wide.shape[0] // group, *wide.shape[1:])
    outputs = deep.reshape(group, deep.shape[0] // group, *deep.shape[1:])
    return list(zip(kernels, inputs, outputs, strict=True))


def _channel_window_sum(x: FloatArray, size: int, xp: Any) -> FloatArray:
    """Sum over `size` neighbouring channels centred on each one, (N, C, ...) -> same shape."""
    total: FloatArray = xp.zeros_like(x)
    channels = x.shape[1]
    for shift in range(-(size // 2), (size - 1) // 2 + 1):
        low, high = max(0, -shift), min(channels, channels - shift)
        if low < high:
            total[:, low:high] += x[:, low + shift : high + shift]
    return total
