"""CpuBackend: the backend interface on the compiled engine, one operation at a time.

Operands come and go in Caffe's planar layout, so each call converts to the engine's blocked layout and
back; the runner (runner.py) is what takes whole nets without that. float32 with two spatial axes runs on
the engine. float64 and convolutions over one or three axes run on the numpy reference that this class
extends: the engine has no kernels for them, on purpose. At precision bf16 the runner's convolutions multiply
in it; single operations stay fp32.
"""

from __future__ import annotations

import ctypes as ct
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend.cpu.convolution import Convolution, Problem, Weights
from nst.backend.cpu.engine import BLOCK, Blocked, FloatArray, address, as_planes, blocks
from nst.backend.cpu.library import Pool, why_no_bf16
from nst.backend.cpu.runner import CpuRunner
from nst.backend.cpu.vectors import VectorSteps, on_engine
from nst.backend.geometry import ConvGeometry, PoolGeometry
from nst.backend.operations import GradientSlots
from nst.errors import UsageError

Array = NDArray[Any]


class CpuBackend(VectorSteps):
    """Host arrays (numpy) and compiled kernels. Raises BackendUnavailable if the library is missing."""

    name = "cpu"
    precision = "fp32"

    def at_precision(self, precision: str) -> CpuBackend:
        if precision not in ("fp32", "bf16"):
            raise UsageError(
                f"precision: backend 'cpu' computes in fp32 or bf16 (got {precision}). Try --backend cuda"
            )
        missing = why_no_bf16(self.engine.library) if precision == "bf16" else None
        if missing:
            raise UsageError(f"precision: {missing}. Leave --precision out or use fp32")
        result = copy(self)  # the same engine
        result.precision = precision
        return result

    def runner(self, slots: GradientSlots | None = None) -> CpuRunner:
        return CpuRunner(self.engine, slots, bf16=self.precision == "bf16")

    # ---- convolution, group by group ---------------------------------------------------------------

    def conv(
        self, x: Array, w: Array, bias: Array | None, geometry: ConvGeometry, out: Array
    ) -> None:
        if not self._takes_conv(x, w, bias, out):
            return super().conv(x, w, bias, geometry, out)
        problem = _group_problem(x, out, geometry)
        target = self._scratch(problem.images, problem.out_channels, problem.out_extent)
        for group in range(geometry.group):
            run = Convolution(self.engine, problem, {})
            source = self._input(x, problem, group)
            begin = group * problem.out_channels
            shift = _padded_bias(bias, begin, problem.out_channels)
            run.forward(source, _kernels(w, begin, problem), address(shift), target, None, 0)
            self.engine.to_planar(target, out, begin)

    def conv_backward_data(self, dy: Array, w: Array, geometry: ConvGeometry, dx: Array) -> None:
        if not self._takes_conv(dy, w, None, dx):
            return super().conv_backward_data(dy, w, geometry, dx)
        problem = _group_problem(dx, dy, geometry)
        gradient = self._scratch(problem.images, problem.out_channels, problem.out_extent)
        target: FloatArray | Blocked
        if problem.reads_picture:
            target = np.empty((problem.images, problem.in_channels, *problem.in_extent), np.float32)
        else:
            target = self._scratch(problem.images, problem.in_channels, problem.in_extent)
        for group in range(geometry.group):
            begin = group * problem.out_channels
            self.engine.to_blocked(dy, gradient, begin)
            kernels = _kernels(w, begin, problem)
            Convolution(self.engine, problem, {}).backward(gradient, None, kernels, target, 0)
            first = group * problem.in_channels
            if isinstance(target, Blocked):
                self.engine.to_planar(target, dx, first)
            else:
                dx[:, first : first + problem.in_channels] = target

    def conv_backward_weights(self, x: Array, dy: Array, geometry: ConvGeometry, dw: Array) -> None:
        if not self._takes_conv(x, dw, None, dy):
            return super().conv_backward_weights(x, dy, geometry, dw)
        problem = _group_problem(x, dy, geometry)
        gradient = self._scratch(problem.images, problem.out_channels, problem.out_extent)
        for group in range(geometry.group):
            begin = group * problem.out_channels
            self.engine.to_blocked(dy, gradient, begin)
            Convolution(self.engine, problem, {}).weight_gradient(
                self._input(x, problem, group),
                gradient,
                dw[begin : begin + problem.out_channels],
                None,
            )

    def _takes_conv(self, x: Array, w: Array, bias: Array | None, out: Array) -> bool:
        return x.ndim == 4 and x.size > 0 and out.size > 0 and on_engine(x, w, bias, out)

    def _input(self, x: FloatArray, problem: Problem, group: int) -> FloatArray | Blocked:
        """One group's input channels: planar for a picture, else converted."""
        first = group * problem.in_channels
        if problem.reads_picture:
            return np.ascontiguousarray(x[:, first : first + problem.in_channels])
        source = self._scratch(problem.images, problem.in_channels, problem.in_extent)
        self.engine.to_blocked(x, source, first)
        return source

    def _scratch(self, images: int, channels: int, extent: tuple[int, ...]) -> Blocked:
        """A blocked array that need not be zero; page-aligned memory is the allocator's business."""
        return self.engine.blocked(images, channels, (extent[0], extent[1]))

    def _blocked(self, x: FloatArray) -> Blocked:
        result = self._scratch(x.shape[0], x.shape[1], x.shape[2:])
        self.engine.to_blocked(x, result)
        return result

    # ---- pooling -----------------------------------------------------------------------------------

    def max_pool(self, x: Array, geometry: PoolGeometry, out: Array, argmax: Array) -> None:
        if not on_engine(x, out) or argmax.dtype != np.int32:
            return super().max_pool(x, geometry, out, argmax)
        source, target = self._blocked(x), self._scratch(out.shape[0], out.shape[1], out.shape[2:])
        winner = self._scratch(out.shape[0], out.shape[1], out.shape[2:])
        sizes = ct.byref(_pool_sizes(source, target, geometry))
        self.engine.call("nst_max_pool", sizes, source.address, target.address, winner.address)
        self.engine.to_planar(target, out)
        self.engine.to_planar(winner, argmax)

    def max_pool_backward(
        self, dy: Array, argmax: Array, geometry: PoolGeometry, dx: Array
    ) -> None:
        if not on_engine(dy, dx) or argmax.dtype != np.int32:
            return super().max_pool_backward(dy, argmax, geometry, dx)
        gradient, winner = self._blocked(dy), self._blocked(argmax.view(np.float32))
        target = self._scratch(dx.shape[0], dx.shape[1], dx.shape[2:])
        sizes = ct.byref(_pool_sizes(target, gradient, geometry))
        self.engine.call(
            "nst_max_pool_backward", sizes, gradient.address, winner.address, target.address
        )
        self.engine.to_planar(target, dx)

    def avg_pool(self, x: Array, geometry: PoolGeometry, out: Array) -> None:
        if not on_engine(x, out):
            return super().avg_pool(x, geometry, out)
        source, target = self._blocked(x), self._scratch(out.shape[0], out.shape[1], out.shape[2:])
        sizes = ct.byref(_pool_sizes(source, target, geometry))
        self.engine.call("nst_avg_pool", sizes, source.address, target.address)
        self.engine.to_planar(target, out)

    def avg_pool_backward(self, dy: Array, geometry: PoolGeometry, dx: Array) -> None:
        if not on_engine(dy, dx):
            return super().avg_pool_backward(dy, geometry, dx)
        gradient, target = self._blocked(dy), self._scratch(dx.shape[0], dx.shape[1], dx.shape[2:])
        sizes = ct.byref(_pool_sizes(target, gradient, geometry))
        self.engine.call("nst_avg_pool_backward", sizes, gradient.address, target.address)
        self.engine.to_planar(target, dx)

    # ---- pointwise and across channels ---------------------------------------------------------------

    def relu(self, x: Array, negative_slope: float, out: Array) -> None:
        if not on_engine(x, out):
            return super().relu(x, negative_slope, out)
        self.engine.call("nst_relu", address(x), negative_slope, address(out), x.size)

    def relu_backward(self, dy: Array, x: Array, negative_slope: float, dx: Array) -> None:
        if not on_engine(dy, x, dx):
            return super().relu_backward(dy, x, negative_slope, dx)
        self.engine.call(
            "nst_relu_backward", address(dy), address(x), negative_slope, address(dx), x.size
        )

    def lrn(
        self, x: Array, size: int, alpha: float, beta: float, k: float, scale: Array, out: Array
    ) -> None:
        if not on_engine(x, scale, out) or x.ndim < 3:
            return super().lrn(x, size, alpha, beta, k, scale, out)
        flat = as_planes(x)
        source, normaliser, target = self._blocked(flat), self._like(flat), self._like(flat)
        self.engine.call(
            "nst_lrn",
            *(source.address, normaliser.address, target.address),
            *(flat.shape[0], flat.shape[1], flat.shape[3], size, alpha, beta, k),
        )
        self.engine.to_planar(normaliser, as_planes(scale))
        self.engine.to_planar(target, as_planes(out))

    def lrn_backward(
        self,
        x: Array,
        out: Array,
        scale: Array,
        dy: Array,
        size: int,
        alpha: float,
        beta: float,
        dx: Array,
    ) -> None:
        if not on_engine(x, out, scale, dy, dx) or x.ndim < 3:
            return super().lrn_backward(x, out, scale, dy, size, alpha, beta, dx)
        operands = [self._blocked(as_planes(a)) for a in (x, out, scale, dy)]
        flat = as_planes(dx)
        target = self._like(flat)
        self.engine.call(
            "nst_lrn_backward",
            *(operand.address for operand in operands),
            *(target.address, flat.shape[0], flat.shape[1], flat.shape[3], size, alpha, beta),
        )
        self.engine.to_planar(target, flat)

    def _like(self, x: FloatArray) -> Blocked:
        return self._scratch(x.shape[0], x.shape[1], x.shape[2:])

    # ---- products and sums -----------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array, out: Array, *, accumulate: bool = False) -> None:
        if not (
            a.dtype == b.dtype == np.float32 and a.ndim >= 2 and b.ndim >= 2 and on_engine(out)
        ):
            return super().matmul(a, b, out, accumulate=accumulate)
        lead = out.shape[:-2]
        left = np.broadcast_to(a, (*lead, *a.shape[-2:]))
        right = np.broadcast_to(b, (*lead, *b.shape[-2:]))
        for index in np.ndindex(*lead):
            self._gemm(left[index], right[index], out[index], accumulate)

    def _gemm(self, a: Array, b: Array, out: Array, accumulate: bool) -> None:
        (m, k), n = a.shape, b.shape[1]
        a_strides, b_strides = (tuple(s // 4 for s in matrix.strides) for matrix in (a, b))
        self.engine.call(
            "nst_gemm",
            *(
                m,
                n,
                k,
                address(a),
                *a_strides,
                address(b),
                *b_strides,
                address(out),
                n,
                int(accumulate),
            ),
        )

    def gram(self, x: Array, scale: float, out: Array) -> None:
        if not on_engine(x, out):
            return super().gram(x, scale, out)
        for features, result in zip(x, out, strict=True):
            source = self._blocked(features[None, :, None])
            self.engine.call("nst_gram", source.address, address(result), *features.shape, scale)

    def gram_backward(self, d: Array, x: Array, scale: float, dx: Array) -> None:
        if not on_engine(d, x, dx):
            return super().gram_backward(d, x, scale, dx)
        for matrix, features, result in zip(d, x, dx, strict=True):
            source = self._blocked(features[None, :, None])
            target = self._like(features[None, :, None])
            self.engine.call(
                "nst_gram_backward",
                *(address(matrix), source.address, target.address, *features.shape, scale, 0),
            )
            self.engine.to_planar(target, result[None, :, None])


def _group_problem(x: Array, out: Array, geometry: ConvGeometry) -> Problem:
    """The convolution of one group, from the shapes of the whole input and output."""
    plain = ConvGeometry(geometry.kernel, geometry.stride, geometry.pad, geometry.dilation)
    channels = x.shape[1] // geometry.group, out.shape[1] // geometry.group
    return Problem(x.shape[0], *channels, x.shape[2:], out.shape[2:], plain)


def _kernels(w: Array, begin: int, problem: Problem) -> Weights:
    """The weights of one group's outputs."""
    return lambda: w[begin : begin + problem.out_channels]


def _padded_bias(bias: FloatArray | None, begin: int, channels: int) -> FloatArray | None:
    """Part of a bias with zeros up to a whole block; None stays None."""
    if bias is None:
        return None
    result = np.zeros(blocks(channels) * BLOCK + BLOCK, np.float32)
    offset = -(address(result) or 0) // 4 % BLOCK  # the kernels read whole aligned vectors
    aligned = result[offset : offset + blocks(channels) * BLOCK]
    aligned[:channels] = bias[begin : begin + channels]
    return aligned


def _pool_sizes(source: Blocked, target: Blocked, geometry: PoolGeometry) -> Pool:
    sizes = (source.images, source.channels, *source.extent, *target.extent)
    window = (*geometry.kernel, *geometry.stride, *geometry.pad)
    return Pool(*sizes, *window, source.image_stride, target.image_stride)
