"""CudaDevice: one GPU with its stream, handles, plans, kernels and memory."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nst.backend.cuda import library
from nst.backend.cuda.cublas import Cublas, Matrix
from nst.backend.cuda.cudnn import Cudnn
from nst.backend.cuda.device import Array, Device, Launch, Precision
from nst.backend.cuda.graphs import ITEM_BYTES, Graph
from nst.backend.cuda.kernels import CudaKernels
from nst.backend.cuda.plan_cache import PlanCache
from nst.backend.cuda.plans import Numerics, Plan, Planner
from nst.backend.cuda.storage import stored
from nst.errors import BackendError

AMPERE, HOPPER, BLACKWELL = 80, 90, 100
"""Compute capabilities; the last is that of data centres, not of GeForce."""
FIRST_HOPPER_CUDNN = 92400
"""From 9.24 on the fused gradient of a convolution is a kernel made for Hopper."""

TUNE = "NST_CUDA_TUNE"
"""Environment variable: 1 lets plans compete that cuDNN has to compile, up to two seconds each, once."""

_TIMED_LAUNCHES = 3

_TILE = 1 << 14
"""Random values that operands are made of while plans are timed."""


class CudaDevice(Device):
    """The GPU that CUDA calls 0; CUDA_VISIBLE_DEVICES says which one that is.

    deterministic: choose plans by cuDNN's heuristics alone, so that another machine of the same kind
    chooses the same. Results are the same bits from run to run in any case, given the same plan cache.
    """

    def __init__(self, *, deterministic: bool = False) -> None:
        libraries = library.load()
        self.xp = cupy = libraries.cupy
        self.kernels = CudaKernels()
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        self.name: str = properties["name"].decode()
        self.capability = int(cupy.cuda.Device().compute_capability)
        self.description = f"{self.name}, {libraries.describe()}"
        # A stream that waits for the default stream and is waited for by it: code of others stays in order.
        self.stream = cupy.cuda.Stream(non_blocking=False)
        self.stream.use()
        self._cudnn = Cudnn(libraries.cudnn)
        self._cudnn.set_stream(self.stream.ptr)
        workspace = self.empty(((32 if self.capability >= HOPPER else 8) << 20,), np.uint8)
        self._cublas_workspace = workspace
        area = (self.address(workspace), workspace.nbytes)
        self._cublas = Cublas(libraries.cublas, self.stream.ptr, area)
        self._cache = PlanCache(f"{self.name}; driver {cupy.cuda.runtime.driverGetVersion()}")
        self._deterministic = deterministic
        self._planners: dict[bool, Planner] = {}
        self.has_bf16 = self.capability >= AMPERE
        self._tunes = os.environ.get(TUNE, "0") not in ("", "0")
        self.fuses_gates = self._tunes and self._has_good_fusion()

    def _has_good_fusion(self) -> bool:
        """Whether cuDNN has gradients with a gate that are made for this GPU, not for an older one."""
        if self.capability == HOPPER:
            return self._cudnn.version >= FIRST_HOPPER_CUDNN
        return self.capability == BLACKWELL

    # ---- memory --------------------------------------------------------------------------------

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return self.xp.empty(shape, dtype)

    def upload(self, host: NDArray[Any]) -> Array:
        return self.xp.asarray(np.ascontiguousarray(host))

    def download(self, array: Array) -> NDArray[Any]:
        result: NDArray[Any] = self.xp.asnumpy(array)
        return result

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        import cupyx

        result: NDArray[Any] = cupyx.empty_pinned(shape, dtype)
        return result

    def download_into(self, host: NDArray[Any], array: Array) -> None:
        self.xp.asnumpy(array, out=host)

    def free_bytes(self) -> int:
        """What the driver has left, and what CuPy's pool holds without using it."""
        free, _ = self.xp.cuda.runtime.memGetInfo()
        return int(free) + int(self.xp.get_default_memory_pool().free_bytes())

    # ---- work ------------------------------------------------------------------------------------

    def plan(self, graph: Graph, precision: Precision) -> Plan | None:
        planner = self._planners.get(precision.tf32)
        if planner is None:
            timer = None if self._deterministic else self.time
            numerics = Numerics(precision.tf32)
            planner = Planner(self._cudnn, numerics, self._cache, timer, tunes=self._tunes)
            self._planners[precision.tf32] = planner
        return planner.plan(graph)

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
        options: dict[str, Any] = {"matrices": matrices, "tf32": tf32, "on_device": on_device}
        self._cublas.multiply(a, b, out, sizes, alpha=alpha, beta=beta, **options)

    def synchronize(self) -> None:
        try:
            self.stream.synchronize()
        except self.xp.cuda.runtime.CUDARuntimeError as error:
            raise BackendError(
                f"cuda: {error}. To find the kernel: export CUDA_LAUNCH_BLOCKING=1"
            ) from error

    def record(self, work: Launch) -> Launch:
        stream = self.stream
        with stream:  # of whatever thread this is
            stream.begin_capture()
            try:
                work()
            except BaseException:
                stream.end_capture()
                raise
            graph = stream.end_capture()
        graph.upload(stream)
        return lambda: graph.launch(stream)

    def time(self, plan: Plan) -> float:
        """Seconds per launch, from the second on, on random operands: a GPU is faster on zeros."""
        operands = [self._random(plan.graph, name) for name in plan.graph.task.value]
        addresses = [self.address(operand) for operand in operands]
        launch = plan.bind(addresses, self.scratch(plan.workspace))
        launch()
        begin, end = self.xp.cuda.Event(), self.xp.cuda.Event()
        begin.record(self.stream)
        for _ in range(_TIMED_LAUNCHES):
            launch()
        end.record(self.stream)
        end.synchronize()
        return float(self.xp.cuda.get_elapsed_time(begin, end)) / 1e3 / _TIMED_LAUNCHES

    def _random(self, graph: Graph, operand: str) -> Array:
        """Values between 0 and 1 in the storage of a graph: one small tile again and again."""
        count = graph.nbytes(operand) // ITEM_BYTES[graph.storage]
        tile = np.random.default_rng(0).random(_TILE, np.float32)
        values = self.upload(stored(tile, graph.storage))
        result = self.empty((count,), values.dtype)
        whole = count - count % _TILE
        result[:whole].reshape(-1, _TILE)[...] = values
        result[whole:] = values[: count - whole]
        return result


@cache
def device_of_process(deterministic: bool) -> CudaDevice:
    """The one device that backends share.

    Our kernels and CuPy's go to the stream that is current, libraries to the stream of their handles: with
    two devices in turn, the work of one would be in no order.
    """
    return CudaDevice(deterministic=deterministic)
