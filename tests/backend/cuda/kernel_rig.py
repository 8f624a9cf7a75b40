"""Runs single kernels on arrays: on the processor everywhere, on the GPU where there is one.

Every array lies between guards; `read` fails if a kernel wrote into them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend.cuda.kernels import BLOCK, CudaKernels, KernelLauncher

Array = NDArray[Any]
GUARD = 64
"""Bytes before and after each array; keeps it aligned for 128-bit accesses."""
BLOCKS = 5
"""Of reductions in tests: a number that is no power of two, and less than the work."""


class Buffer:
    """An array in the memory that kernels see."""

    def __init__(self, xp: Any, values: Array) -> None:
        self._shape, self._dtype = values.shape, values.dtype
        body = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        guard = np.full(GUARD, 0xA5, np.uint8)
        size = GUARD - len(body) % GUARD
        whole = np.concatenate([guard, body, np.full(GUARD + size, 0xA5, np.uint8)])
        self._memory = xp.zeros(len(whole) + GUARD, np.uint8)
        first = -self._address_of(self._memory) % GUARD
        self._bytes = self._memory[first : first + len(whole)]
        self._bytes[...] = xp.asarray(whole)
        self._length = len(body)

    @property
    def address(self) -> int:
        return self._address_of(self._bytes) + GUARD

    def read(self) -> Array:
        """The values now, on the host."""
        whole = np.asarray(self._bytes.get() if hasattr(self._bytes, "get") else self._bytes)
        body = whole[GUARD : GUARD + self._length]
        outside = np.concatenate([whole[:GUARD], whole[GUARD + self._length :]])
        assert (outside == 0xA5).all(), "a kernel wrote outside its array"
        return np.frombuffer(body.tobytes(), self._dtype).reshape(self._shape)

    @staticmethod
    def _address_of(array: Any) -> int:
        return int(array.data.ptr) if hasattr(array.data, "ptr") else int(array.ctypes.data)


class KernelRig:
    """A launcher and the memory that goes with it."""

    def __init__(self, launcher: KernelLauncher, xp: Any) -> None:
        self.launcher, self._xp = launcher, xp

    def buffer(self, values: Any, dtype: Any = None) -> Buffer:
        return Buffer(self._xp, np.asarray(values, dtype))

    def empty(self, shape: tuple[int, ...] | int, dtype: Any = np.float32) -> Buffer:
        """Filled with bytes that no kernel would write: results must not depend on what was there."""
        count = int(np.prod(shape))
        junk = np.full(count * np.dtype(dtype).itemsize, 0xFF, np.uint8)
        return self.buffer(junk.view(dtype).reshape(shape))

    def run(self, name: str, storage: str, threads: int, *arguments: Buffer | float | None) -> None:
        values = [a.address if isinstance(a, Buffer) else 0 if a is None else a for a in arguments]
        self.launcher.launch(name, storage, threads, *values)

    def reduce(self, name: str, storage: str, *arguments: Buffer | float | None) -> Buffer:
        """Runs a reduction whose partials stand where `...` stands in the arguments; returns them."""
        partials = self.empty(BLOCKS, np.float64)
        given = [partials if a is ... else a for a in arguments]
        self.run(name, storage, BLOCKS * BLOCK, *given)
        return partials

    def total(self, partials: Buffer) -> float:
        """Partials added by the kernel that is made for it."""
        out = self.empty(1, np.float64)
        self.run("finish_sum_double", "fp32", BLOCK, partials, out, BLOCKS)
        return float(out.read()[0])


def cuda_rig() -> KernelRig:
    """On the GPU; only where there is one."""
    import cupy

    return KernelRig(CudaKernels(), cupy)


# ---- maps ---------------------------------------------------------------------------------------------


def padded(channels: int) -> int:
    """Channels filled up to whole groups of eight."""
    return -(-channels // 8) * 8


def stored(values: Array, storage: str) -> Array:
    """float32 values as their storage type holds them: float32, float16, or bfloat16 as uint16."""
    if storage == "fp16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16)
    if storage == "bf16":
        return _bfloat16(values.astype(np.float32))
    return values.astype(np.float32)


def widened(raw: Array, storage: str) -> Array:
    """The inverse, as float32."""
    if storage == "bf16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32)


def to_map(planar: Array, storage: str) -> Array:
    """(N, C, H, W) -> (N, H, W, CP) as stored, zeros in the channels that fill up."""
    n, c, h, w = planar.shape
    result = np.zeros((n, h, w, padded(c)), np.float32)
    result[..., :c] = planar.transpose(0, 2, 3, 1)
    return stored(result, storage)


def to_planar(raw: Array, channels: int, storage: str) -> Array:
    """(N, H, W, CP) as stored -> (N, C, H, W) float32; the channels that fill up must be zero."""
    values = widened(raw, storage)
    assert not values[..., channels:].any(), "channels that fill up are not zero"
    return np.ascontiguousarray(values[..., :channels].transpose(0, 3, 1, 2))


def rounded(values: Array, storage: str) -> Array:
    """float32 values that the storage type holds exactly."""
    return widened(stored(values, storage), storage)


def _bfloat16(values: Array) -> Array:
    """The nearest of the two neighbours, the one with an even last bit if both are as near."""
    finite = np.where(np.isfinite(values), values, 0).astype(np.float32)
    low = finite.view(np.uint32) & np.uint32(0xFFFF0000)
    high = low + np.uint32(0x10000)
    exact, below = finite.astype(np.float64), low.view(np.float32).astype(np.float64)
    up, down = np.abs(high.view(np.float32) - exact), np.abs(exact - below)
    takes_high = (up < down) | ((up == down) & ((low >> 16) & 1 == 1))
    bits = (np.where(takes_high, high, low) >> 16).astype(np.uint16)
    return np.where(np.isfinite(values), bits, (values.view(np.uint32) >> 16).astype(np.uint16))
