"""Where values lie on the device. Every place has an address once the program is bound."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from nst.backend.operations import BlobLike, MemoryLike


@dataclass(eq=False)
class Buffer:
    """Bytes of the arena, which other buffers have before `first` and after `last` (numbers of launches)."""

    nbytes: int
    first: int = -1
    last: int = -1
    address: int = 0


@dataclass(eq=False)
class Pinned:
    """An array of the program's own that keeps its values from run to run."""

    array: Any
    address: int


class BlobMemory:
    """The planar memory of a blob, its data or its diff. The array is not held here: `run.is_held` tells by
    reference counts whether users hold it."""

    def __init__(self, blob: BlobLike, memory: MemoryLike) -> None:
        self.blob, self.memory = blob, memory
        self._address: int | None = None
        self._array: weakref.ref[Any] | None = None
        """The array whose address is in use."""

    def view(self) -> Any:
        """The values as an array of the blob's shape, without telling anybody."""
        return self.memory.raw(self.blob.shape, self.blob.backend, self.blob.dtype)

    @property
    def address(self) -> int:
        if self._address is None:
            self._address = self.blob.backend.device.address(self.view())
            self._array = weakref.ref(self.memory.flat)
        return self._address

    def is_same(self, other: object) -> bool:
        """Whether another place is this memory, perhaps of another blob that shares it."""
        return isinstance(other, BlobMemory) and other.memory is self.memory

    @property
    def moved(self) -> bool:
        """Whether the blob has another array than the one whose address is in use."""
        return self._array is not None and self._array() is not self.memory.flat


@dataclass(eq=False)
class Part:
    """Bytes from an offset on of another place."""

    whole: Buffer | Pinned | BlobMemory
    offset: int

    @property
    def address(self) -> int:
        return self.whole.address + self.offset


Place = Buffer | Pinned | Part | BlobMemory


def part(place: Place, offset: int) -> Part:
    """The bytes of a place from an offset on."""
    if isinstance(place, Part):
        return Part(place.whole, place.offset + offset)
    return Part(place, offset)
