"""Where gradients are written: into buffers of their own, or into few that are used again and again.

By default every blob keeps its gradient. With GradientSlots from the net's plan, blobs whose gradients are
never alive together share a buffer, and the readers of one split blob add into one buffer instead of being
summed afterwards. A gradient that was overwritten so cannot be asked for: an error, never a wrong number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nst.backend.cpu.engine import BLOCK, Blocked, Engine, FloatArray, address, blocks
from nst.backend.cpu.twins import Twins, extent_of
from nst.backend.operations import BlobLike, GradientSlots, MemoryLike
from nst.errors import BackendError

Fill = Callable[[Blocked, bool], None]
"""Writes into a buffer, or adds to it."""


@dataclass
class Sink:
    """A buffer that is about to receive a gradient; `adds` says that it already holds part of a sum."""

    blob: BlobLike
    buffer: Blocked
    adds: bool


class _Recycled:
    """Memory.pending of a gradient whose buffer holds another one by now."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> None:
        raise BackendError(
            f"blob '{self.name}': its gradient was not kept, because this net was built to let gradients "
            "share memory. Build it with recycle_gradients=False to look at them"
        )


class Gradients:
    """Opens and closes sinks for the diff side of blobs."""

    def __init__(self, twins: Twins, slots: GradientSlots | None) -> None:
        self.twins = twins
        self._slots = slots.slots if slots else {}
        self._sums = slots.sums if slots else {}
        self._memory: dict[int, FloatArray] = {}
        self._tenants: dict[int, list[tuple[MemoryLike, str]]] = {}
        self._begun: set[str] = set()
        self._added: set[str] = set()
        self._queued: dict[str, list[Fill]] = {}

    def read(self, blob: BlobLike) -> Blocked:
        """The gradient of a blob, blocked."""
        return self.twins.read(blob.diff_memory, blob)

    def in_its_buffer(self, blob: BlobLike) -> Blocked:
        """The gradient of a blob in the buffer that it shares with its parts.

        One that a layer's own code has written, elsewhere, is copied there.
        """
        found, slot = self.read(blob), self._slots.get(blob.name)
        if slot is None or blob.name in self._sums or found.address in self._addresses(slot):
            return found
        sink = self.open(blob)
        self.twins.engine.scale(1.0, found, sink.buffer)
        self.close(sink)
        return sink.buffer

    def leave(self, blob: BlobLike) -> None:
        """Lets a layer's own code write a gradient that the plan has a buffer for, outside of it."""
        tenants = self._tenants.get(self._slots.get(blob.name, -1), [])
        tenants[:] = [tenant for tenant in tenants if tenant[0] is not blob.diff_memory]
        if isinstance(blob.diff_memory.pending, _Recycled):
            blob.diff_memory.pending = None

    def open(self, blob: BlobLike) -> Sink:
        """A buffer for the whole gradient of a blob."""
        slot = self._slots.get(blob.name)
        if slot is None:
            return Sink(blob, self.twins.target(blob.diff_memory, blob), False)
        whole = self._sums.get(blob.name, blob.name)
        adds = whole in self._begun
        if not adds:
            self._evict(slot)
        return Sink(blob, self._buffer(slot, blob.shape), adds)

    def close(self, sink: Sink) -> None:
        """Declares the gradient written (or added)."""
        blob = sink.blob
        slot = self._slots.get(blob.name)
        if slot is not None:
            self._tenants.setdefault(slot, []).append((blob.diff_memory, blob.name))
        if blob.name in self._sums:
            self._begun.add(self._sums[blob.name])
            self._added.add(blob.name)
            self._close_off(blob.diff_memory, blob.name)
        else:
            self.twins.wrote(blob.diff_memory, blob, sink.buffer)

    def write(self, blob: BlobLike, fill: Callable[[Blocked], None]) -> None:
        """Writes a gradient by a kernel that can only overwrite; adds it where a sum has begun."""
        sink = self.open(blob)
        if sink.adds:
            part = self.twins.engine.blocked(blob.shape[0], blob.shape[1], extent_of(blob.shape))
            fill(part)
            self.twins.engine.combine(1.0, part, 1.0, sink.buffer, sink.buffer)
        else:
            fill(sink.buffer)
        self.close(sink)

    def pass_on(self, blob: BlobLike, part: Blocked) -> bool:
        """Makes `part` of another gradient the gradient of a blob; True if they share memory from now on."""
        slot = self._slots.get(blob.name)
        if slot is None or blob.name in self._sums or part.address not in self._addresses(slot):
            self.write(blob, lambda target: self.twins.engine.scale(1.0, part, target))
            return False
        self._tenants.setdefault(slot, []).append((blob.diff_memory, blob.name))
        self.twins.wrote(blob.diff_memory, blob, part)
        return True

    def retire(self, blob: BlobLike) -> None:
        """Declares that the gradient has been used up and is not what its memory holds."""
        self._close_off(blob.diff_memory, blob.name)

    def has_part(self, blob: BlobLike) -> bool:
        """Whether the gradient of a split's top was added to the sum already."""
        return blob.name in self._added

    def contribute(self, blob: BlobLike, fill: Fill) -> None:
        """Writes a gradient by a kernel that can add. Part of a sum waits until the sum is collected, so that
        the buffer is not taken earlier than the other parts need it."""
        if blob.name in self._sums and blob.name in self._slots:
            self._queued.setdefault(self._sums[blob.name], []).append(fill)
            self._added.add(blob.name)
            self._close_off(blob.diff_memory, blob.name)
        else:
            sink = self.open(blob)
            fill(sink.buffer, sink.adds)
            self.close(sink)

    def collect(self, bottom: BlobLike, tops: list[BlobLike]) -> None:
        """Makes the gradient of a split blob the sum of its tops' gradients."""
        parts = [self.read(top) for top in tops if top.name not in self._added]
        queued = self._queued.pop(bottom.name, [])
        sink = self.open(bottom)
        adds = sink.adds
        if not adds and len(parts) > 1:
            self.twins.engine.combine(1.0, parts.pop(0), 1.0, parts.pop(0), sink.buffer)
            adds = True
        fills = [*(_adder(self.twins.engine, part) for part in parts), *queued]
        self._begun.discard(bottom.name)
        self._added.difference_update(top.name for top in tops)
        for fill in fills:
            fill(sink.buffer, adds)
            adds = True
        self.close(sink)

    def end_of_run(self) -> None:
        """Forgets sums that were begun: a run that stopped in the middle leaves none behind."""
        self._begun.clear()
        self._added.clear()
        self._queued.clear()

    def _buffer(self, slot: int, shape: tuple[int, ...]) -> Blocked:
        count = shape[0] * blocks(shape[1]) * BLOCK * math.prod(shape[2:])
        memory = self._memory.get(slot)
        if memory is None or memory.size < count:
            memory = self._memory[slot] = self.twins.engine.array((count,))
        array = memory[:count].reshape(shape[0], blocks(shape[1]), *shape[2:], BLOCK)
        return Blocked.over(array, shape[1])

    def _addresses(self, slot: int) -> range:
        memory = self._memory.get(slot)
        first = int(address(memory) or 0)
        return range(first, first + (0 if memory is None else memory.nbytes))

    def _evict(self, slot: int) -> None:
        for memory, name in self._tenants.pop(slot, []):
            self._close_off(memory, name)

    def _close_off(self, memory: MemoryLike, name: str) -> None:
        self.twins.of(memory).fresh = False
        memory.pending = _Recycled(name)


def _adder(engine: Engine, part: Blocked) -> Fill:
    """Copies or adds a gradient that is there already."""

    def fill(buffer: Blocked, adds: bool) -> None:
        if adds:
            engine.combine(1.0, part, 1.0, buffer, buffer)
        else:
            engine.scale(1.0, part, buffer)

    return fill
