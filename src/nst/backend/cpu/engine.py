"""One engine: threads and scratch memory of the compiled library, and arrays in its own layout.

`Blocked` is nChw16c, (N, ceil(C/16), H, W, 16), with zeros in the channels that fill up the last block. The
kernels take addresses; everything about shapes is decided and checked on this side.
"""

from __future__ import annotations

import ctypes as ct
import math
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend.cpu import library
from nst.backend.cpu.threads import available_threads
from nst.errors import BackendError

BLOCK = 16
"""Channels per block, whatever the instruction set."""

FloatArray = NDArray[np.float32]


def blocks(channels: int) -> int:
    """Channel blocks that hold this many channels."""
    return -(-channels // BLOCK)


def address(array: NDArray[Any] | None) -> int | None:
    """Where an array's first element lies; None stays None (a NULL pointer)."""
    return None if array is None else int(array.__array_interface__["data"][0])


@dataclass(frozen=True)
class Blocked:
    """An array (N, blocks, H, W, 16) and how many of its channels are real; may be a range of blocks of a
    wider array."""

    array: FloatArray
    channels: int
    address: int
    image_stride: int
    """Floats from one image to the next."""
    shape: tuple[int, ...]
    """(N, C, H, W)."""
    is_whole: bool
    """Whether images follow each other without gaps."""

    @classmethod
    def over(cls, array: FloatArray, channels: int) -> Blocked:
        """Wraps an array whose axes after the first are contiguous."""
        images, _, height, width, _ = array.shape
        stride = array.strides[0] // 4
        whole = images == 1 or stride == math.prod(array.shape[1:])
        shape = (images, channels, height, width)
        return cls(array, channels, int(address(array) or 0), stride, shape, whole)

    @property
    def images(self) -> int:
        return self.shape[0]

    @property
    def extent(self) -> tuple[int, int]:
        """(H, W)."""
        return self.shape[2], self.shape[3]

    def block_range(self, first: int, channels: int) -> Blocked:
        """The channels from block `first` on, sharing memory."""
        return Blocked.over(self.array[:, first : first + blocks(channels)], channels)


@dataclass(frozen=True)
class GateBits:
    """One bit per value of a blocked map, (N, blocks, H, W) of uint16: whether a gradient passes there."""

    array: NDArray[np.uint16]
    native: library.Gate

    @classmethod
    def over(cls, array: NDArray[np.uint16]) -> GateBits:
        """Wraps an array whose axes after the first are contiguous."""
        return cls(array, library.Gate(address(array), array.strides[0] // 2))

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether these are the bits of a map (N, C, H, W)."""
        return self.array.shape == (shape[0], blocks(shape[1]), *shape[2:])

    def block_range(self, first: int, channels: int) -> GateBits:
        """The channels from block `first` on, sharing memory."""
        return GateBits.over(self.array[:, first : first + blocks(channels)])


class Engine:
    """A handle of the compiled library. Use it from one thread at a time; others wait."""

    def __init__(self, threads: int | None = None, isa: str | None = None) -> None:
        self.library = library.load(isa)
        self.isa: str = self.library.nst_isa().decode()
        self.threads = threads or available_threads()
        handle = self.library.nst_engine_create(self.threads)
        if not handle:
            raise BackendError("cpu: the engine could not be created (out of memory)")
        self._handle = handle
        self._close = weakref.finalize(self, self.library.nst_engine_destroy, handle)

    def call(self, name: str, *arguments: object) -> None:
        """Runs one function of native/nst_cpu.h on this engine; raises BackendError if it fails."""
        if getattr(self.library, name)(self._handle, *arguments) != 0:
            raise BackendError(f"cpu: {name}: {self.library.nst_error(self._handle).decode()}")

    def settle(self) -> None:
        """Returns when every call has run; there is something to wait for in a Batch only."""

    def trim(self) -> None:
        """Gives scratch memory back."""
        self.call("nst_engine_trim")

    def array(self, shape: tuple[int, ...]) -> FloatArray:
        """New zeros, 64-byte aligned, on huge pages if large."""
        count = math.prod(shape)
        memory = self.library.nst_allocate(max(1, count) * 4)
        if not memory:
            raise BackendError(f"cpu: out of memory for {count * 4} bytes")
        owner = (ct.c_float * max(1, count)).from_address(memory)
        weakref.finalize(owner, self.library.nst_release, memory)
        flat: FloatArray = np.frombuffer(memoryview(owner).cast("B"), np.float32, count)
        return flat.reshape(shape)

    def blocked(self, images: int, channels: int, extent: tuple[int, int]) -> Blocked:
        """A new blocked array of zeros."""
        return Blocked.over(self.array((images, blocks(channels), *extent, BLOCK)), channels)

    def gate(self, shape: tuple[int, ...]) -> GateBits:
        """New bits, all closed, for a map (N, C, H, W)."""
        bits = (shape[0], blocks(shape[1]), *shape[2:])
        count = math.prod(bits)
        return GateBits.over(self.array((-(-count // 2),)).view(np.uint16)[:count].reshape(bits))

    def open_where_positive(self, values: Blocked, gate: GateBits) -> None:
        """Sets the bits of all values: 1 where positive."""
        sizes = values.images, values.channels, math.prod(values.extent), values.image_stride
        self.call("nst_positive_gate", values.address, *sizes, ct.byref(gate.native))

    def scale(self, alpha: float, x: Blocked, out: Blocked) -> None:
        """out = alpha * x."""
        for n, count in _runs(x, out):
            self.call("nst_scale", alpha, _image(x, n), _image(out, n), count)

    def combine(
        self,
        alpha: float,
        x: Blocked,
        beta: float,
        y: Blocked,
        out: Blocked,
        *,
        rectify: bool = False,
    ) -> None:
        """out = alpha * x + beta * y, or the positive part of it."""
        name = "nst_axpby_relu" if rectify else "nst_axpby"
        for n, count in _runs(x, y, out):
            self.call(name, alpha, _image(x, n), beta, _image(y, n), _image(out, n), count)

    def relu(self, x: Blocked, slope: float, out: Blocked) -> None:
        """out = x where positive, slope * x elsewhere."""
        for n, count in _runs(x, out):
            self.call("nst_relu", _image(x, n), slope, _image(out, n), count)

    def relu_backward(self, gradient: Blocked, x: Blocked, slope: float, out: Blocked) -> None:
        """out = gradient where x is positive, slope * gradient elsewhere."""
        for n, count in _runs(gradient, x, out):
            self.call(
                "nst_relu_backward", _image(gradient, n), _image(x, n), slope, _image(out, n), count
            )

    def dot(self, x: Blocked, y: Blocked) -> float:
        """Inner product, accumulated in double."""
        total, part = 0.0, ct.c_double()
        for n, count in _runs(x, y):
            self.call("nst_dot", _image(x, n), _image(y, n), count, ct.addressof(part))
            self.settle()
            total += part.value
        return total

    def to_blocked(self, planar: FloatArray, target: Blocked, first_channel: int = 0) -> None:
        """Copies channels of planar (N, C, H, W) from `first_channel` on into target."""
        self.call(
            "nst_to_blocked",
            _channel_address(planar, first_channel),
            target.address,
            target.images,
            target.channels,
            math.prod(target.extent),
            math.prod(planar.shape[1:]),
            target.image_stride,
        )

    def to_planar(self, source: Blocked, planar: NDArray[Any], first_channel: int = 0) -> None:
        """Copies source into the channels of planar (N, C, H, W) from `first_channel` on; 4-byte values."""
        self.call(
            "nst_to_planar",
            source.address,
            _channel_address(planar, first_channel),
            source.images,
            source.channels,
            math.prod(source.extent),
            source.image_stride,
            math.prod(planar.shape[1:]),
        )


def _runs(*operands: Blocked) -> Iterator[tuple[int, int]]:
    """(first image, floats) of each contiguous run of equally shaped operands."""
    count = math.prod(operands[0].array.shape[1:])
    if all(operand.is_whole for operand in operands):
        yield 0, count * operands[0].images
    else:
        yield from ((n, count) for n in range(operands[0].images))


def _image(x: Blocked, image: int) -> int:
    return x.address + image * x.image_stride * 4


def _channel_address(planar: NDArray[Any], channel: int) -> int:
    return int(address(planar) or 0) + channel * math.prod(planar.shape[2:]) * 4


def as_planes(x: NDArray[Any]) -> NDArray[Any]:
    """(N, C, ...) as (N, C, 1, positions), the same memory."""
    return x.reshape(x.shape[0], x.shape[1], 1, math.prod(x.shape[2:]))
