"""Tape: the launches of a program in order, and the arena that their buffers share.

A launch is noted before any address is known, with the buffers that it touches. `place_buffers` then gives
every buffer a range of the arena: two buffers overlap only if one is dead before the other is born. After
that the launches are bound to their addresses, and running the program is calling them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nst.backend.cuda.device import Device, Launch
from nst.backend.cuda.program.places import Buffer, Part, Place

GRANULE = 256
"""Bytes to which buffers are aligned."""


@dataclass(frozen=True)
class Note:
    """One launch before it is bound."""

    bind: Callable[[Device], Launch]
    label: str
    may_wait: bool = False
    """Waits for the device or makes memory of it: it cannot be recorded."""


class Tape:
    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.buffers: list[Buffer] = []

    def buffer(self, nbytes: int) -> Buffer:
        """A new buffer, alive from the first to the last launch that touches it."""
        result = Buffer(nbytes)
        self.buffers.append(result)
        return result

    def add(
        self,
        label: str,
        bind: Callable[[Device], Launch],
        places: Iterable[Place],
        *,
        may_wait: bool = False,
    ) -> None:
        """Appends a launch that touches these places."""
        number = len(self.notes)
        for place in places:
            whole = place.whole if isinstance(place, Part) else place
            if isinstance(whole, Buffer):
                whole.first = number if whole.first < 0 else whole.first
                whole.last = number
        self.notes.append(Note(bind, label, may_wait))

    def keep(self, buffers: Iterable[Buffer]) -> None:
        """Keeps buffers alive until the end of the tape."""
        for buffer in buffers:
            buffer.last = len(self.notes)


def place_buffers(buffers: Iterable[Buffer]) -> int:
    """Writes offsets into `address` (first fit, in order of birth); returns the bytes of the arena."""
    alive: list[Buffer] = []
    size = 0
    used = [buffer for buffer in buffers if buffer.first >= 0]
    for buffer in sorted(used, key=lambda b: (b.first, -b.nbytes)):
        alive = [other for other in alive if other.last >= buffer.first]
        buffer.address = _lowest_gap(alive, buffer.nbytes)
        alive.append(buffer)
        size = max(size, buffer.address + rounded(buffer.nbytes))
    return size


def _lowest_gap(alive: list[Buffer], nbytes: int) -> int:
    start = 0
    for other in sorted(alive, key=lambda b: b.address):
        if other.address - start >= rounded(nbytes):
            break
        start = max(start, other.address + rounded(other.nbytes))
    return start


def rounded(nbytes: int) -> int:
    """Bytes that a buffer takes, up to a whole granule."""
    return -(-nbytes // GRANULE) * GRANULE
