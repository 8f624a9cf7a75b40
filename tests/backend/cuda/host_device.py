"""HostDevice: a GPU that is not there. Memory of the process, the real kernels compiled for the processor,
convolutions and products in numpy: what runs on a CudaDevice runs here, number by number, if slowly."""

from __future__ import annotations

import ctypes as ct
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from backend.cuda.device_arrays import DEVICE_ARRAYS, DeviceArray
from backend.cuda.host_kernels import HostKernels
from numpy.typing import DTypeLike, NDArray

from nst.backend.cuda.cublas import Matrix
from nst.backend.cuda.device import Device, Launch, Precision
from nst.backend.cuda.graphs import Graph, Task
from nst.backend.numpy_backend import NumpyBackend

DTYPES = {"fp32": np.float32, "fp64": np.float64, "fp16": np.float16, "bf16": np.uint16}
REFERENCE = NumpyBackend()


def memory(address: int, count: int, storage: str) -> NDArray[Any]:
    """The values that lie at an address, as a view."""
    dtype = np.dtype(DTYPES[storage])
    raw = (ct.c_uint8 * (count * dtype.itemsize)).from_address(address)
    return np.frombuffer(raw, dtype)


def widened(values: NDArray[Any], storage: str) -> NDArray[Any]:
    """Stored values as float32 (float64 of fp64)."""
    if storage == "bf16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64 if storage == "fp64" else np.float32)


def narrowed(values: NDArray[Any], storage: str) -> NDArray[Any]:
    """Values as they are stored, rounded to the nearest, ties to even."""
    if storage != "bf16":
        with np.errstate(over="ignore"):
            return values.astype(DTYPES[storage])
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    quiet = (bits >> 16) | 0x40
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16)


class HostPlan:
    """A convolution graph in numpy. It scribbles over its workspace, so that nobody relies on it."""

    def __init__(self, graph: Graph, *, workspace: int = 64) -> None:
        self.graph, self.workspace = graph, workspace

    def bind(self, addresses: Sequence[int], workspace: int) -> Launch:
        named = dict(zip(self.graph.task.value, addresses, strict=True))
        assert all(address % 16 == 0 for address in addresses), "cuDNN is told of aligned operands"

        def launch() -> None:
            memory(workspace, self.workspace // 4, "fp32")[...] = np.nan
            with np.errstate(all="ignore"):  # a GPU does not warn
                self._run(named)

        return launch

    def _run(self, named: dict[str, int]) -> None:
        graph, task = self.graph, self.graph.task
        read = {name: self._read(name, named[name]) for name in task.value[:-1]}
        output = task.value[-1]
        result = np.empty(graph.shape(output), read[task.value[0]].dtype)
        if task is Task.WEIGHTS:
            result[...] = 0
            REFERENCE.conv_backward_weights(read["x"], read["dy"], graph.geometry, result)
        elif task in (Task.DATA, Task.DATA_GATED):
            REFERENCE.conv_backward_data(read["dy"], read["w"], graph.geometry, result)
            if task is Task.DATA_GATED:
                result *= read["gate"] > 0
        else:
            bias = read.get("bias")
            flat = None if bias is None else bias.reshape(-1)
            REFERENCE.conv(read["x"], read["w"], flat, graph.geometry, result)
            if task is Task.FORWARD_BIAS_RELU:
                np.maximum(result, 0, out=result)
        self._write(output, named[output], result)

    def _read(self, name: str, address: int) -> NDArray[Any]:
        """An operand as (N, C, H, W) or (K, C, R, S)."""
        graph = self.graph
        shape = graph.shape(name)
        flat = widened(memory(address, math.prod(shape), graph.storage), graph.storage)
        if graph.planar:
            return flat.reshape(shape)
        n, c, h, w = shape
        return np.ascontiguousarray(flat.reshape(n, h, w, c).transpose(0, 3, 1, 2))

    def _write(self, name: str, address: int, result: NDArray[Any]) -> None:
        graph = self.graph
        ordered = result if graph.planar else result.transpose(0, 2, 3, 1)
        target = memory(address, result.size, graph.storage)
        target[...] = narrowed(np.ascontiguousarray(ordered), graph.storage).reshape(-1)


class HostDevice(Device):
    """lacks: tasks that cuDNN has no plan for here, so that the other way is taken."""

    def __init__(
        self,
        lacks: Sequence[Task] = (),
        *,
        bytes_free: int = 1 << 40,
        fuses_gates: bool = False,
        has_bf16: bool = True,
    ) -> None:
        self.fuses_gates, self.has_bf16 = fuses_gates, has_bf16
        self.xp = DEVICE_ARRAYS
        self.kernels = HostKernels()
        self.description = "a processor that stands in for a GPU"
        self.lacks, self.bytes_free = tuple(lacks), bytes_free
        self.waits = 0
        """How often somebody waited for the device or read from it."""

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """Values that nobody may rely on; aligned as on the device."""
        count = math.prod(shape)
        raw = np.full(count * np.dtype(dtype).itemsize + 256, 0xA5, np.uint8)
        first = -raw.ctypes.data % 256
        view = raw[first : first + count * np.dtype(dtype).itemsize].view(dtype)
        return DeviceArray(view.reshape(shape))

    def upload(self, host: NDArray[Any]) -> DeviceArray:
        result = self.empty(host.shape, host.dtype)
        result.host[...] = host
        return result

    def download(self, array: DeviceArray) -> NDArray[Any]:
        self.waits += 1
        return array.host.copy()

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        return np.empty(shape, dtype)

    def download_into(self, host: NDArray[Any], array: DeviceArray) -> None:
        self.waits += 1
        host[...] = array.host

    def free_bytes(self) -> int:
        return self.bytes_free

    def plan(self, graph: Graph, precision: Precision) -> HostPlan | None:
        return None if graph.task in self.lacks else HostPlan(graph)

    def multiply(
        self,
        a: Matrix,
        b: Matrix,
        out: Matrix,
        sizes: tuple[int, int, int],
        *,
        alpha: float | int = 1.0,
        beta: float | int = 0.0,
        matrices: int = 1,
        tf32: bool = False,
        on_device: bool = False,
    ) -> None:
        if on_device:
            alpha, beta = (float(memory(int(factor), 1, "fp32")[0]) for factor in (alpha, beta))
        m, n, k = sizes
        for index in range(matrices):
            left, right = _matrix(a, m, k, index), _matrix(b, k, n, index)
            target = _matrix(out, m, n, index)
            with np.errstate(all="ignore"):
                product = alpha * (widened(left, a.storage) @ widened(right, b.storage))
                if beta:
                    product = product + beta * widened(target, out.storage)
                target[...] = narrowed(product, out.storage)

    def synchronize(self) -> None:
        self.waits += 1

    def record(self, work: Launch) -> Launch:
        """A recording is the work itself: it must not have waited for anything."""

        def launch() -> None:
            before = self.waits
            work()
            assert self.waits == before, "recorded work waits for the device"

        return launch


class RecordingDevice(HostDevice):
    """Counts what is recorded."""

    recordings = 0

    def record(self, work: Launch) -> Launch:
        self.recordings += 1
        return super().record(work)


def _matrix(matrix: Matrix, rows: int, columns: int, index: int) -> NDArray[Any]:
    """One matrix of a stack as (rows, columns), a view of the device's memory."""
    if matrix.transposed:
        rows, columns = columns, rows
    item = np.dtype(DTYPES[matrix.storage]).itemsize
    address = matrix.address + index * matrix.stride * item
    flat = memory(address, (rows - 1) * matrix.pitch + columns, matrix.storage)
    strides = (matrix.pitch * item, item)
    view = np.lib.stride_tricks.as_strided(flat, (rows, columns), strides)
    return view.T if matrix.transposed else view
