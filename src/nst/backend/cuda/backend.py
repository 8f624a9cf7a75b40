"""CudaBackend: the backend interface on a GPU, one operation at a time, on planar (N, C, H, W) arrays.

Convolutions go to cuDNN, products to cuBLAS, pooling and vectors (vectors.py) to our kernels. What these do
not take (convolutions over one or three axes, arrays that are not contiguous, types other than float32 and
float64) runs as the reference does, on CuPy's arrays. Whole nets are taken by the program (program/), which
keeps to a layout and a precision of its own; here fp32 stays fp32, multiplied in TF32 where the precision
mode says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nst.backend.cuda.cublas import Matrix
from nst.backend.cuda.device import PRECISIONS, Array, Device, Precision
from nst.backend.cuda.graphs import ALIGNMENT, Graph, Task
from nst.backend.cuda.program.dry import bytes_needed
from nst.backend.cuda.program.program import CudaProgram
from nst.backend.cuda.vectors import STORAGE, VectorSteps
from nst.backend.geometry import ConvGeometry, PoolGeometry
from nst.backend.programs import ProgramLayer
from nst.errors import BackendError, UsageError

DEFAULT_PRECISION = "fp32"
"""Until a GPU has said what the others are worth."""


class CudaBackend(VectorSteps):
    """Arrays of CuPy on one GPU. Raises BackendUnavailable, with the cause, if there is none.

    device: a stand-in for the GPU (tests). precision: fp32, tf32, fp16 or bf16.
    """

    name = "cuda"
    compiles_nets = True

    def __init__(
        self,
        device: Device | None = None,
        *,
        precision: str | None = None,
        deterministic: bool = False,
    ) -> None:
        if device is None:
            from nst.backend.cuda.cuda_device import device_of_process

            device = device_of_process(deterministic)
        super().__init__(device)
        self.precision = Precision.named(precision or DEFAULT_PRECISION)

    def at_precision(self, precision: str) -> CudaBackend:
        if precision not in PRECISIONS:
            raise UsageError(
                f"precision: unknown (got {precision!r}, expected one of {', '.join(PRECISIONS)})"
            )
        if precision == "bf16" and not self.device.has_bf16:
            raise UsageError(
                "precision: this GPU has no bf16 (got bf16, expected fp32, tf32 or fp16)"
            )
        return type(self)(self.device, precision=precision)

    def program(self, layers: Sequence[ProgramLayer]) -> CudaProgram | None:
        if any(blob.dtype != np.float32 for layer in layers for blob in layer.top_blobs):
            return None  # float64 is for checks: by the layers' own code
        return CudaProgram(self.device, self.precision, layers)

    def program_bytes(self, layers: Sequence[ProgramLayer]) -> int:
        return bytes_needed(self.precision, layers, self.device.fuses_gates)

    def free_bytes(self) -> int:
        return self.device.free_bytes()

    # ---- arrays --------------------------------------------------------------------------------

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return self.xp.zeros(shape, dtype)

    def asarray(self, host: Any, dtype: DTypeLike) -> Array:
        return self.xp.ascontiguousarray(self.xp.asarray(host, dtype))

    def to_host(self, array: Array) -> NDArray[Any]:
        return self.device.download(array)

    def copy_to_host(self, array: Array, into: NDArray[Any] | None = None) -> NDArray[Any]:
        host = self.device.pinned(array.shape, array.dtype) if into is None else into
        self.device.download_into(host, array)
        return host

    def synchronize(self) -> None:
        self.device.synchronize()

    # ---- convolution ---------------------------------------------------------------------------

    def conv(
        self, x: Array, w: Array, bias: Array | None, geometry: ConvGeometry, out: Array
    ) -> None:
        graph = self._graph(Task.FORWARD if bias is None else Task.FORWARD_BIAS, x, out, geometry)
        biases = [] if bias is None else [bias]
        if self._run(graph, [x, w, *biases, out]):
            return
        if bias is None or not self._run(self._graph(Task.FORWARD, x, out, geometry), [x, w, out]):
            return super().conv(x, w, bias, geometry, out)
        out += bias.reshape(1, -1, 1, 1)

    def conv_backward_data(self, dy: Array, w: Array, geometry: ConvGeometry, dx: Array) -> None:
        if not self._run(self._graph(Task.DATA, dx, dy, geometry), [dy, w, dx]):
            super().conv_backward_data(dy, w, geometry, dx)

    def conv_backward_weights(self, x: Array, dy: Array, geometry: ConvGeometry, dw: Array) -> None:
        part = self.xp.empty_like(dw)
        if self._run(self._graph(Task.WEIGHTS, x, dy, geometry), [x, dy, part]):
            dw += part
        else:
            super().conv_backward_weights(x, dy, geometry, dw)

    def _graph(self, task: Task, x: Array, y: Array, geometry: ConvGeometry) -> Graph | None:
        """The graph of a convolution between these arrays; None if cuDNN is not asked for it."""
        storage = STORAGE.get(x.dtype)
        if x.ndim != 4 or storage is None or x.size == 0 or y.size == 0:
            return None
        channels, extents = (x.shape[1], y.shape[1]), (x.shape[2:], y.shape[2:])
        return Graph(task, x.shape[0], *channels, *extents, geometry, storage, planar=True)

    def _run(self, graph: Graph | None, operands: list[Array]) -> bool:
        """Runs a plan for the graph; False if there is none for these operands."""
        if graph is None or not _are_plain(graph.storage, *operands):
            return False
        plan = self.device.plan(graph, self.precision)
        if plan is None:
            return False
        addresses = [self.device.address(operand) for operand in operands]
        if any(address % ALIGNMENT for address in addresses):
            return False
        plan.bind(addresses, self.device.scratch(plan.workspace))()
        return True

    # ---- pooling -------------------------------------------------------------------------------

    def max_pool(self, x: Array, geometry: PoolGeometry, out: Array, argmax: Array) -> None:
        self._pool("max_pool", geometry, x, out, out.size, x, out, argmax)

    def max_pool_backward(
        self, dy: Array, argmax: Array, geometry: PoolGeometry, dx: Array
    ) -> None:
        self._pool("max_pool_backward", geometry, dx, dy, dx.size, dy, argmax, dx)

    def avg_pool(self, x: Array, geometry: PoolGeometry, out: Array) -> None:
        self._pool("avg_pool", geometry, x, out, out.size, x, out)

    def avg_pool_backward(self, dy: Array, geometry: PoolGeometry, dx: Array) -> None:
        self._pool("avg_pool_backward", geometry, dx, dy, dx.size, dy, dx)

    def _pool(
        self,
        name: str,
        geometry: PoolGeometry,
        wide: Array,
        narrow: Array,
        threads: int,
        *operands: Array,
    ) -> None:
        """One pooling kernel between a wide and a narrow array of planes."""
        planes = wide.shape[0] * wide.shape[1]
        sizes = (planes, *wide.shape[2:], *narrow.shape[2:])
        window = (*geometry.kernel, *geometry.stride, *geometry.pad)
        self._launch(f"planar_{name}", threads, *operands, *sizes, *window)

    # ---- pointwise and across channels ---------------------------------------------------------

    # relu, relu_backward, lrn and lrn_backward are the reference's, on CuPy's arrays.

    # ---- products and sums ---------------------------------------------------------------------

    def matmul(self, a: Array, b: Array, out: Array, *, accumulate: bool = False) -> None:
        if a.size == 0 or b.size == 0 or out.dtype not in STORAGE:
            return super().matmul(a, b, out, accumulate=accumulate)
        lead = out.shape[:-2]
        sizes = (out.shape[-2], out.shape[-1], a.shape[-1])
        if all(len(factor.shape) == 2 for factor in (a, b, out)) or len(lead) == 0:
            self._multiply(a, b, out, sizes, 1, accumulate)
            return
        if not all(factor.shape[:-2] == lead for factor in (a, b)):
            a, b = (self.xp.broadcast_to(f, (*lead, *f.shape[-2:])) for f in (a, b))
        a, b = self._flattened(a), self._flattened(b)
        target = out.reshape(-1, *out.shape[-2:])
        self._multiply(a, b, target, sizes, target.shape[0], accumulate)

    def gram(self, x: Array, scale: float, out: Array) -> None:
        sizes = (x.shape[1], x.shape[1], x.shape[2])
        x = self.xp.ascontiguousarray(x)
        self._multiply(x, x.transpose(0, 2, 1), out, sizes, x.shape[0], False, scale)

    def gram_backward(self, d: Array, x: Array, scale: float, dx: Array) -> None:
        both = d + d.transpose(0, 2, 1)
        sizes = (x.shape[1], x.shape[2], x.shape[1])
        x = self.xp.ascontiguousarray(x)
        self._multiply(both, x, dx, sizes, x.shape[0], False, scale)

    def _multiply(
        self,
        a: Array,
        b: Array,
        out: Array,
        sizes: tuple[int, int, int],
        matrices: int,
        accumulate: bool,
        alpha: float = 1.0,
    ) -> None:
        """out = alpha * a @ b, or out += that, for one matrix or a stack of them."""
        if not out.flags.c_contiguous:
            raise BackendError("cuda: a product is written into contiguous arrays only")
        a, b = self._readable(a), self._readable(b)
        left, right, target = (self._matrix(factor) for factor in (a, b, out))
        options: dict[str, Any] = {"matrices": matrices, "tf32": self.precision.tf32}
        beta = 1.0 if accumulate else 0.0
        self.device.multiply(left, right, target, sizes, alpha=alpha, beta=beta, **options)

    def _readable(self, factor: Array) -> Array:
        """The factor, copied if its rows or columns are not contiguous."""
        inner = (factor.strides[-1], factor.strides[-2])
        return factor if factor.itemsize in inner else self.xp.ascontiguousarray(factor)

    def _matrix(self, factor: Array) -> Matrix:
        rows, columns, item = factor.strides[-2], factor.strides[-1], factor.itemsize
        transposed = columns != item
        length = factor.shape[-2] if transposed else factor.shape[-1]
        pitch = max((columns if transposed else rows) // item, length)
        stride = factor.strides[-3] // item if factor.ndim == 3 else 0
        storage = STORAGE[factor.dtype]
        return Matrix(self.device.address(factor), storage, pitch, transposed, stride)

    def _flattened(self, factor: Array) -> Array:
        """A stack of matrices with one leading axis; broadcast axes are written out."""
        if factor.ndim == 3:
            return factor
        return self.xp.ascontiguousarray(factor).reshape(-1, *factor.shape[-2:])

    def _launch(self, name: str, threads: int, *arguments: Any, storage: str | None = None) -> None:
        """A kernel on arrays and numbers; the storage is that of the first array unless given."""
        if storage is None:
            storage = STORAGE[arguments[0].dtype]
        values = [
            self.device.address(value) if hasattr(value, "dtype") else value for value in arguments
        ]
        self.device.kernels.launch(name, storage, threads, *values)


def _are_plain(storage: str, *arrays: Array) -> bool:
    """Whether all arrays are contiguous and of this storage."""
    return all(STORAGE.get(a.dtype) == storage and a.flags.c_contiguous for a in arrays)
