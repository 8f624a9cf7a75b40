"""Device: what the engine asks of a GPU. The seam at which tests put a processor in its place.

Everything above it (backend.py, program/) speaks of arrays, addresses, plans, kernels and products only, so
that it runs, unchanged and number by number, on `CudaDevice` or on a stand-in made of numpy and the kernels
compiled for the host.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nst.backend.cuda.cublas import Matrix
from nst.backend.cuda.graphs import Graph
from nst.backend.cuda.kernels import KernelLauncher

Array = Any
Launch = Callable[[], None]
"""Work with all its addresses bound."""

PRECISIONS = ("fp32", "tf32", "fp16", "bf16")


@dataclass(frozen=True)
class Precision:
    """How numbers are kept and multiplied; sums are fp32 in every mode."""

    name: str
    storage: str
    """What activations and gradients are kept in: fp32, fp16 or bf16."""
    tf32: bool
    """Whether fp32 factors may be rounded to 11 bits in the tensor cores."""

    @classmethod
    def named(cls, name: str) -> Precision:
        storage = "fp32" if name in ("fp32", "tf32") else name
        return cls(name, storage, name != "fp32")


class ConvolutionPlan(Protocol):
    """How one graph is run: plans.Plan on a GPU."""

    @property
    def workspace(self) -> int: ...
    def bind(self, addresses: Sequence[int], workspace: int) -> Launch: ...


class CompileTarget(ABC):
    """What compiling a net asks of a GPU: memory and plans. Nothing is launched."""

    fuses_gates = False
    """Whether cuDNN's gradient with a ReLU's gate is faster than the gradient and a kernel for the gate."""

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """A new array with any values, aligned to 256 bytes. Raises MemoryError."""

    @abstractmethod
    def upload(self, host: NDArray[Any]) -> Array:
        """A copy of host values."""

    def address(self, array: Array | None) -> int:
        """Where an array's first value is; 0 for None."""
        return 0 if array is None else int(array.data.ptr)

    @abstractmethod
    def plan(self, graph: Graph, precision: Precision) -> ConvolutionPlan | None:
        """How to run a convolution; None if cuDNN has no way."""


class Device(CompileTarget):
    """One GPU, one stream. Arrays are those of `xp`."""

    xp: Any
    kernels: KernelLauncher
    description: str
    has_bf16 = True
    _scratch: Array | None = None

    # ---- memory --------------------------------------------------------------------------------

    @abstractmethod
    def download(self, array: Array) -> NDArray[Any]:
        """A copy of the values on the host; waits for them."""

    @abstractmethod
    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """New memory of the host that the device reaches without a copy in between."""

    @abstractmethod
    def download_into(self, host: NDArray[Any], array: Array) -> None:
        """Writes the values to memory of the host; waits for them."""

    @abstractmethod
    def free_bytes(self) -> int:
        """Memory that can still be had."""

    def scratch(self, nbytes: int) -> int:
        """The address of scratch memory that holds until the next call of this; 0 for no bytes."""
        if nbytes == 0:
            return 0
        if self._scratch is None or self._scratch.size < nbytes:
            self._scratch = None  # the old one goes before the new one comes
            self._scratch = self.empty((nbytes,), np.uint8)
        return self.address(self._scratch)

    # ---- work ------------------------------------------------------------------------------------

    @abstractmethod
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
        """A matrix product; see cublas.Cublas.multiply."""

    @abstractmethod
    def synchronize(self) -> None:
        """Waits until all work is done. Raises BackendError if some of it failed."""

    @abstractmethod
    def record(self, work: Launch) -> Launch:
        """Runs nothing, but returns one launch of all that `work` would launch.

        `work` must neither wait for the device nor make or give back memory of it.
        """
