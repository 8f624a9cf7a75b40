"""Where values lie on the device. Every place has an address once the program is bound."""

from __future__ import annotations

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


@dataclass(eq=False)
class Part:
    """Bytes from an offset on of another place."""

    whole: Buffer | Pinned
    offset: int

    @property
    def address(self) -> int:
        return self.whole.address + self.offset


class BlobMemory:
    """The planar memory of a blob, its data or its diff. The program holds the array: as long as the blob
    has the
    same one, the address is good."""

    def __init__(self, blob: BlobLike, memory: MemoryLike) -> None:
        self.blob, self.memory = blob, memory
        self._address: int | None = None
        self._flat: Any = None

    def view(self) -> Any:
        """The values as an array of the blob's shape, without telling anybody."""
        return self.memory.raw(self.blob.shape, self.blob.backend, self.blob.dtype)

    @property
    def address(self) -> int:
        if self._address is None:
            self._address = self.blob.backend.device.address(self.view())
            self._flat = self.memory.flat
        return self._address

    def is_same(self, other: object) -> bool:
        """Whether another place is this memory, perhaps of another blob that shares it."""
        return isinstance(other, BlobMemory) and other.memory is self.memory

    @property
    def moved(self) -> bool:
        """Whether the blob has other memory than the one whose address is in use."""
        return self._address is not None and self.memory.flat is not self._flat


Place = Buffer | Pinned | Part | BlobMemory
