"""Twins: a blob's values in the blocked layout beside its planar memory, and which of the two is newer.

    engine writes   twin is fresh; Memory.pending copies it to the planar array when somebody looks
    somebody looks  the planar array is filled and `exposed`: it may be written to at any time from now on
    engine reads    takes the fresh twin, or converts the planar array if it was exposed or is still held

An array that a user keeps (`d = net.blobs["data"].data`) is noticed by its reference count: such memory is
converted at every read and filled at every write, so that the user's view is always the truth.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from nst.backend.cpu.engine import Blocked, Engine, FloatArray, GateBits, blocks
from nst.backend.operations import BlobLike, MemoryLike


class _Slot:
    __slots__ = ("flat",)

    def __init__(self) -> None:
        self.flat = np.zeros(1)


_SLOT = _Slot()
_REFERENCES = sys.getrefcount(_SLOT.flat)
"""What getrefcount says of an array that only one slot of a living object refers to."""


def is_held(memory: MemoryLike) -> bool:
    """Whether somebody keeps a view of the planar array."""
    return memory.flat is not None and sys.getrefcount(memory.flat) > _REFERENCES


def is_touched(memory: MemoryLike) -> bool:
    """Whether the planar array may have been written to since the engine last saw it."""
    return memory.exposed or is_held(memory)


class Twin:
    """The blocked side of one Memory; `blocked` counts only while `fresh`."""

    __slots__ = ("blocked", "fresh", "gate", "home", "own", "own_gate", "version")

    def __init__(self) -> None:
        self.blocked: Blocked | None = None
        self.fresh = False
        self.own: Blocked | None = None
        """A buffer that belongs to this twin alone."""
        self.home: Blocked | None = None
        """Part of a wider array where the values should be written, if shapes agree (concatenation)."""
        self.version = 0
        """Counts the values that `blocked` has had."""
        self.gate: GateBits | None = None
        """Where `blocked` is positive, if that is known."""
        self.own_gate: GateBits | None = None

    def hold(self, blocked: Blocked, gate: GateBits | None = None) -> None:
        """Takes `blocked` for the newest values."""
        self.blocked, self.gate, self.fresh = blocked, gate, True
        self.version += 1


def extent_of(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[2], shape[3]


def fits(blocked: Blocked | None, shape: tuple[int, ...]) -> bool:
    return blocked is not None and blocked.shape == shape


class Twins:
    """The transitions; the state lies in Memory.native."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def of(self, memory: MemoryLike) -> Twin:
        if not isinstance(memory.native, Twin):
            memory.native = Twin()
        return memory.native

    def planar(self, memory: MemoryLike, blob: BlobLike) -> FloatArray:
        """The newest values as (N, C, H, W), for the engine's own reading."""
        if memory.pending is not None:
            fill, memory.pending = memory.pending, None
            fill()
        array: FloatArray = memory.raw(blob.shape, blob.backend, blob.dtype)
        return array

    def overwrite_planar(self, memory: MemoryLike, blob: BlobLike) -> FloatArray:
        """The planar array to be overwritten by the engine; what was there is forgotten. Whoever looks at it
        waits for the call that does so."""
        memory.pending, memory.exposed = self.engine.settle, True
        array: FloatArray = memory.raw(blob.shape, blob.backend, blob.dtype)
        return array

    def is_fresh(self, memory: MemoryLike, blob: BlobLike) -> bool:
        """Whether the blocked values are the newest and of the blob's shape."""
        return self._newest(memory, blob) is not None

    def read(self, memory: MemoryLike, blob: BlobLike) -> Blocked:
        """The newest values in the blocked layout."""
        newest = self._newest(memory, blob)
        if newest is not None:
            return newest
        planar, twin = self.planar(memory, blob), self.of(memory)
        target = self._own(twin, blob.shape)
        self.engine.to_blocked(planar, target)
        twin.hold(target)
        memory.exposed = False
        return target

    def exchange(self, memory: MemoryLike, blob: BlobLike, spare: Blocked | None) -> Blocked:
        """The newest values, in a buffer that is the caller's from now on; the memory gets `spare`."""
        values, twin = self.read(memory, blob), self.of(memory)
        if values is twin.own:
            twin.own = spare
            return values
        copy = spare
        if copy is None or not fits(copy, blob.shape):
            copy = self.engine.blocked(blob.shape[0], blob.shape[1], extent_of(blob.shape))
        self.engine.scale(1.0, values, copy)
        return copy

    def target(self, memory: MemoryLike, blob: BlobLike) -> Blocked:
        """A buffer for new values; tell `wrote` when they are there."""
        twin = self.of(memory)
        twin.fresh = False
        if fits(twin.home, blob.shape) and twin.home is not None:
            return twin.home
        return self._own(twin, blob.shape)

    def gate_target(self, memory: MemoryLike, blob: BlobLike) -> GateBits:
        """Bits to be written with new values; hand them to `wrote`."""
        twin = self.of(memory)
        if twin.own_gate is None or not twin.own_gate.fits(blob.shape):
            twin.own_gate = self.engine.gate(blob.shape)
        return twin.own_gate

    def gate(self, memory: MemoryLike, blob: BlobLike) -> GateBits:
        """Where the newest values are positive."""
        values, twin = self.read(memory, blob), self.of(memory)
        if twin.gate is None:
            twin.gate = self.gate_target(memory, blob)
            self.engine.open_where_positive(values, twin.gate)
        return twin.gate

    def wrote(
        self, memory: MemoryLike, blob: BlobLike, blocked: Blocked, gate: GateBits | None = None
    ) -> None:
        """Declares `blocked` to be the newest values, and `gate` where they are positive."""
        self.of(memory).hold(blocked, gate)
        memory.exposed = False
        memory.pending = _Fill(self.engine, blocked, memory, blob.backend, blob.dtype)
        if is_held(memory):
            self.planar(memory, blob)

    def put_off(self, memory: MemoryLike, blob: BlobLike, make: Callable[[], None]) -> int:
        """Declares new values that are made only when somebody asks for them; returns their version.

        make writes them here, by `wrote`. It must not refer to the blob, or neither would ever be freed.
        """
        twin, place = self.of(memory), weakref.ref(memory)
        twin.fresh, twin.gate, memory.exposed = False, None, False
        twin.version += 1

        def fill() -> None:
            make()
            target = place()
            if target is not None and target.pending is not None:
                pending, target.pending = target.pending, None
                pending()

        memory.pending = fill
        if is_held(memory):
            self.planar(memory, blob)
        return twin.version

    def _newest(self, memory: MemoryLike, blob: BlobLike) -> Blocked | None:
        """The blocked values if they are the newest and of the blob's shape."""
        twin = self.of(memory)
        blocked = twin.blocked if twin.fresh else None
        if blocked is None or blocked.shape != blob.shape or is_touched(memory):
            return None
        return blocked

    def _own(self, twin: Twin, shape: tuple[int, ...]) -> Blocked:
        if twin.own is None or not fits(twin.own, shape):
            twin.own = self.engine.blocked(shape[0], shape[1], extent_of(shape))
        return twin.own


class _Fill:
    """Memory.pending of blocked values: copies them to the planar array. Refers to the memory weakly, so that
    a net that is dropped is freed at once, without waiting for the garbage collector."""

    __slots__ = ("backend", "blocked", "dtype", "engine", "memory")

    def __init__(
        self, engine: Engine, blocked: Blocked, memory: MemoryLike, backend: Any, dtype: Any
    ) -> None:
        self.engine, self.blocked, self.memory = engine, blocked, weakref.ref(memory)
        self.backend, self.dtype = backend, dtype

    def __call__(self) -> None:
        source, memory = self.blocked, self.memory()
        if memory is not None:
            shape = (source.images, source.channels, *source.extent)
            self.engine.to_planar(source, memory.raw(shape, self.backend, self.dtype))


def is_feature_map(blob: BlobLike) -> bool:
    """Whether a blob has the form that the blocked layout holds: (N, C, H, W), float32, not empty."""
    shape = blob.shape
    return len(shape) == 4 and blob.dtype == np.float32 and 0 not in shape


def whole_blocks(channels: int) -> bool:
    return blocks(channels) * 16 == channels
