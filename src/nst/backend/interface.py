"""The contract of a device: arrays, and the few operations that devices do differently.

A backend knows arrays and geometries; it knows no blobs, layers, nets or messages. Everything elementwise
is written once in the layers with `backend.xp`. A method is added here only if two backends do it
differently and a benchmark or docs/numerics.md says why. Shape arithmetic never happens here: results are
written into `out` arrays of the right shape that the caller gives.

Conventions: arrays are C-contiguous, batch first (N, C, H, W); all arguments of one call share one dtype
(float32, or float64 where a backend supports it); nothing is kept of an argument after the call returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nst.backend.geometry import ConvGeometry, PoolGeometry
from nst.backend.operations import GradientSlots, Runner
from nst.backend.programs import Program, ProgramLayer
from nst.errors import UsageError

Array = Any
"""An array of the backend's own module: numpy.ndarray, or cupy.ndarray on cuda."""


class Backend(ABC):
    """One device. Instances are passed in explicitly; there is no current or default one."""

    name: str
    """What the user calls it: numpy, cpu or cuda."""

    xp: Any
    """The array module: numpy, or cupy."""

    compiles_nets = False
    """Whether `program` may answer; a net need not describe itself to a backend that never does."""

    def runner(self, slots: GradientSlots | None = None) -> Runner | None:
        """A new runner of whole nets (see nst.backend.operations), or None if this backend has none.

        slots: which gradients may share buffers; None keeps them all.
        """
        return None

    def at_precision(self, precision: str) -> Backend:
        """This device with activations multiplied in fp32, tf32, fp16 or bf16, and on cuda kept in it.

        Only whole nets are (see `program` and `runner`); single operations stay what their arrays are. Raises
        UsageError for a precision that it does not have.
        """
        if precision != "fp32":
            raise UsageError(
                f"precision: backend '{self.name}' computes in fp32 (got {precision}). Try --backend cuda"
            )
        return self

    def program(self, layers: Sequence[ProgramLayer]) -> Program | None:
        """The whole net compiled (see nst.backend.programs), or None if this backend does not do that."""
        return None

    def program_bytes(self, layers: Sequence[ProgramLayer]) -> int | None:
        """What `program` would take of the device's memory, nothing of which is touched; None without one."""
        return None

    def free_bytes(self) -> int | None:
        """What is left of the device's own memory; None where that is the machine's."""
        return None

    def serial_blas(self) -> AbstractContextManager[object]:
        """Within it the host's BLAS and LAPACK use one thread; nothing where arrays are not on the host.

        For matrices so small that sharing the work costs more than the work: an eigendecomposition of 256
        channels takes five to a hundred times as long on two threads of OpenBLAS as on one.
        """
        return nullcontext()

    # ---- arrays --------------------------------------------------------------------------------

    @abstractmethod
    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Returns a new array of zeros in this device's memory."""

    @abstractmethod
    def asarray(self, host: Any, dtype: DTypeLike) -> Array:
        """Returns host values as an array of this device; may share memory if nothing has to change."""

    @abstractmethod
    def to_host(self, array: Array) -> NDArray[Any]:
        """Returns the values as a numpy array; on the host backends the array itself."""

    def copy_to_host(self, array: Array, into: NDArray[Any] | None = None) -> NDArray[Any]:
        """A copy of the values on the host.

        into: what an earlier call returned for an array of this shape and type; it is written anew. A GPU
        copies several times faster into memory that it has got to know in that earlier call.
        """
        if into is None:
            return np.array(self.to_host(array))
        into[...] = self.to_host(array)
        return into

    @abstractmethod
    def synchronize(self) -> None:
        """Waits until all work asked for so far is done."""

    # ---- convolution ---------------------------------------------------------------------------

    @abstractmethod
    def conv(
        self, x: Array, w: Array, bias: Array | None, geometry: ConvGeometry, out: Array
    ) -> None:
        """Cross-correlation plus bias.

        x (N, C, spatial...), w (O, C/group, kernel...), bias (O,) or None, out (N, O, out spatial...).
        """

    @abstractmethod
    def conv_backward_data(self, dy: Array, w: Array, geometry: ConvGeometry, dx: Array) -> None:
        """Overwrites dx with the gradient of `conv` with respect to x; shapes as in `conv`."""

    @abstractmethod
    def conv_backward_weights(self, x: Array, dy: Array, geometry: ConvGeometry, dw: Array) -> None:
        """Adds the gradient of `conv` with respect to w to dw; shapes as in `conv`."""

    # ---- pooling -------------------------------------------------------------------------------

    @abstractmethod
    def max_pool(self, x: Array, geometry: PoolGeometry, out: Array, argmax: Array) -> None:
        """Window maximum; ties go to the first in row-major order, padding and NaN never win.

        x (N, C, H, W), out (N, C, OH, OW), argmax int32 like out: h * W + w of the winner, -1 if there is
        none (out is then -FLT_MAX, as in Caffe).
        """

    @abstractmethod
    def max_pool_backward(
        self, dy: Array, argmax: Array, geometry: PoolGeometry, dx: Array
    ) -> None:
        """Overwrites dx (N, C, H, W) with dy sent to the winners; argmax -1 receives nothing."""

    @abstractmethod
    def avg_pool(self, x: Array, geometry: PoolGeometry, out: Array) -> None:
        """Window mean; the divisor counts padding but not the overhang of Caffe's ceil rule."""

    @abstractmethod
    def avg_pool_backward(self, dy: Array, geometry: PoolGeometry, dx: Array) -> None:
        """Overwrites dx (N, C, H, W) with dy spread evenly over each window."""

    # ---- pointwise and across channels ---------------------------------------------------------

    @abstractmethod
    def relu(self, x: Array, negative_slope: float, out: Array) -> None:
        """out = max(x, 0) + negative_slope * min(x, 0); out may be x."""

    @abstractmethod
    def relu_backward(self, dy: Array, x: Array, negative_slope: float, dx: Array) -> None:
        """dx = dy * (1 where x > 0, negative_slope where x <= 0); dx may be dy, x may be the output."""

    @abstractmethod
    def lrn(
        self, x: Array, size: int, alpha: float, beta: float, k: float, scale: Array, out: Array
    ) -> None:
        """Across-channel normalisation: scale = k + alpha/size * window sum of x^2; out = x * scale^-beta."""

    @abstractmethod
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
        """Overwrites dx with the gradient of `lrn`; `out` and `scale` are what the forward wrote."""

    # ---- products and sums ---------------------------------------------------------------------

    @abstractmethod
    def matmul(self, a: Array, b: Array, out: Array, *, accumulate: bool = False) -> None:
        """out = a @ b, or out += a @ b. a (..., M, K), b (..., K, N), out (..., M, N); a and b may be
        transposed views."""

    @abstractmethod
    def gram(self, x: Array, scale: float, out: Array) -> None:
        """out = scale * x @ x^T for x (M, N, K), out (M, N, N), exactly symmetric."""

    @abstractmethod
    def gram_backward(self, d: Array, x: Array, scale: float, dx: Array) -> None:
        """dx = scale * (d + d^T) @ x for d (M, N, N), x and dx (M, N, K)."""

    @abstractmethod
    def dot(self, a: Array, b: Array) -> float:
        """Inner product of two arrays of one size, accumulated in float64."""

    @abstractmethod
    def axpy(self, alpha: float, x: Array, y: Array) -> None:
        """y += alpha * x for arrays of one shape."""

    # ---- steps of a solver -------------------------------------------------------------------

    def axpy_dot(
        self, alpha: float, x: Array, y: Array, z: Array, gate: Array | None = None
    ) -> float:
        """y = (y + alpha * x) * gate, in place; returns y . z, accumulated in float64. Vectors of one size;
        no gate is a gate of ones."""
        self.axpy(alpha, x, y)
        if gate is not None:
            y *= gate
        return self.dot(y, z)

    def gated_products(
        self, pairs: Sequence[tuple[Array, Array]], gate: Array, scratch: Array
    ) -> list[tuple[float, float]]:
        """(a . gb, gb . gb) with gb = gate * b for each pair (a, b), accumulated in float64. Vectors of one
        size; `scratch` is one more, to be overwritten."""
        products = []
        for a, b in pairs:
            self.xp.multiply(b, gate, out=scratch)
            products.append((self.dot(a, scratch), self.dot(scratch, scratch)))
        return products

    def two_loop(
        self,
        q: Array,
        pairs: Sequence[tuple[Array, Array, float]],
        scale: float,
        gate: Array | None = None,
    ) -> None:
        """q = H q in place: the two-loop recursion of L-BFGS (Nocedal 1980).

        pairs: (s, y, 1 / s.y), the oldest first; H0 = scale. With a gate of 0 and 1, q stays 0 where it is 0.
        """
        if not pairs:
            q *= scale
            return
        alphas, product = [], self.dot(pairs[-1][0], q)
        for i in reversed(range(len(pairs))):
            _, y, rho = pairs[i]
            alphas.append(rho * product)
            other = pairs[i - 1][0] if i else y
            product = self.axpy_dot(-alphas[-1], y, q, other, gate)
        q *= scale
        product *= scale
        for i, alpha in enumerate(reversed(alphas)):
            s, _, rho = pairs[i]
            following = pairs[min(i + 1, len(pairs) - 1)][1]
            product = self.axpy_dot(alpha - rho * product, s, q, following, gate)

    def sgd_step(
        self, data: Array, diff: Array, history: Array, rate: float, momentum: float
    ) -> None:
        """history = momentum * history + rate * diff; diff = history; data -= diff. Arrays of one shape."""
        history *= momentum
        history += rate * diff
        diff[...] = history
        self.axpy(-1.0, diff, data)

    def adam_step(
        self,
        data: Array,
        diff: Array,
        moments: tuple[Array, Array],
        rate: float,
        decays: tuple[float, float],
        delta: float,
    ) -> None:
        """Adam with the bias correction in `rate`. Arrays of one shape.

        m = decays[0] * m + (1 - decays[0]) * diff, v likewise of diff^2, (m, v) = moments;
        diff = rate * m / (sqrt(v) + delta); data -= diff.
        """
        (mean, square), (beta1, beta2) = moments, decays
        mean *= beta1
        mean += (1.0 - beta1) * diff
        square *= beta2
        square += (1.0 - beta2) * diff * diff
        diff[...] = mean / (self.xp.sqrt(square) + delta)
        diff *= rate
        self.axpy(-1.0, diff, data)


def float32_lowest() -> float:
    """-FLT_MAX: what Caffe writes for a pooling window that holds no number."""
    return float(np.finfo(np.float32).min)
