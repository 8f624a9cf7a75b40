"""Run: one compilation of a net, bound to memory: launches, recording, and what the blobs show."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np

from nst.backend.cuda.device import Array, Device, Launch, Precision
from nst.backend.cuda.program.compiler import NO_ALARMS, Alarms, Compiler
from nst.backend.cuda.program.operations import compile_backward, compile_forward
from nst.backend.cuda.program.places import BlobMemory, Pinned
from nst.backend.cuda.program.tape import place_buffers
from nst.backend.cuda.program.values import Value
from nst.backend.operations import BlobLike, MemoryLike
from nst.backend.programs import ProgramLayer
from nst.errors import BackendError


class Run:
    """exponents: of activations and gradients. calibrating: note the largest magnitudes. alarms: what else is
    counted on the device. declined: numbers of layers that run by their own code."""

    def __init__(
        self,
        device: Device,
        precision: Precision,
        layers: Sequence[ProgramLayer],
        exponents: Mapping[str, int],
        *,
        calibrating: bool = False,
        alarms: Alarms = NO_ALARMS,
        declined: Collection[int] = (),
    ) -> None:
        self.device = device
        compiler = Compiler(
            *(device, precision, layers, exponents),
            calibrating=calibrating,
            alarms=alarms,
            declined=declined,
        )
        self._compiler = compiler
        compile_forward(compiler)
        self._boundary = len(compiler.tape.notes)
        self._goes_back = any(layer.runs_backward for layer in layers)
        if self._goes_back:
            compile_backward(compiler)
        self._kept = compiler.keep_values()
        self.arena_bytes = place_buffers(compiler.tape.buffers)
        self._launches = self._bind()
        self.labels = [note.label for note in compiler.tape.notes]
        self._may_wait = [note.may_wait for note in compiler.tape.notes]
        # What is bound refers to the compiler, and must not be referred to by it: all goes with the net.
        compiler.tape.notes = []
        self._refreshes, compiler.refreshes = compiler.refreshes, []
        self._recorded: list[Launch] = []
        self._runs = 0
        self._is_fresh = False
        """Whether the buffers hold what the forward pass left."""
        self._shown = self._shown_now()

    @property
    def foreign(self) -> set[int]:
        """Layers that run by their own code."""
        return self._compiler.foreign

    def forward(self) -> None:
        """All launches of the forward pass, one by one."""
        self._begin()
        _in_order(self._launches[: self._boundary])()
        self._is_fresh = True
        self._show()

    def backward(self) -> None:
        """All launches of the backward pass; what they need of the forward pass is there once only."""
        for place in self._compiler.memories.values():
            place.memory.pending = None  # own code looks at what the forward pass has left in them
        _in_order(self._launches[self._boundary if self._is_fresh else 0 :])()
        self._is_fresh = False
        self._show()

    def forward_backward(self) -> None:
        """One by one the first time, when libraries load what they need; then as few launches as can be."""
        self._begin()
        if self._runs == 1:
            self._recorded = self._record()
        for launch in self._recorded or self._launches:
            launch()
        self._runs += 1
        self._is_fresh = False
        self._show()

    def _record(self) -> list[Launch]:
        """Every stretch of launches that never wait as one; that is all if no layer runs by its own code."""
        recorded: list[Launch] = []
        launches = zip(self._may_wait, self._launches, strict=True)
        for may_wait, stretch in groupby(launches, key=itemgetter(0)):
            work = [launch for _, launch in stretch]
            recorded += work if may_wait else [self.device.record(_in_order(work))]
        return recorded

    def has_moved(self) -> bool:
        """Whether a blob has other memory than the launches are bound to."""
        return any(place.moved for place in self._compiler.memories.values())

    def largest(self) -> dict[str, float]:
        """The largest magnitudes of a calibrating run."""
        values = self.device.download(self._compiler.observations.array).view(np.float32)
        return dict(zip(self._compiler.observed, values.tolist(), strict=False))

    def _begin(self) -> None:
        """Converts inputs and weights that somebody may have written to since."""
        for place in self._compiler.memories.values():
            place.memory.pending = None
        changed = [
            (blob.data_memory, work)
            for blob, work in self._refreshes
            if blob.data_memory.exposed or is_held(blob.data_memory)
        ]
        for _, work in changed:
            work(self.device)
        for memory, _ in changed:
            memory.exposed = False
        if self._compiler.observed:
            self._compiler.observations.array[...] = 0

    # ---- memory ------------------------------------------------------------------------------------

    def _bind(self) -> list[Launch]:
        """Makes the memory and gives every launch its addresses."""
        compiler, device = self._compiler, self.device
        self._arena = self._allocate(self.arena_bytes + compiler.workspace)
        base = device.address(self._arena)
        for buffer in compiler.tape.buffers:
            buffer.address += base
        compiler.workspace_place.address = base + self.arena_bytes
        observations = device.empty((max(1, len(compiler.observed)),), np.uint32)
        compiler.observations.array = observations
        compiler.observations.address = device.address(observations)
        for _, work in compiler.refreshes:
            work(device)
        for blob, _ in compiler.refreshes:
            blob.data_memory.exposed = False
        return [note.bind(device) for note in compiler.tape.notes]

    def _allocate(self, nbytes: int) -> Array:
        free = self.device.free_bytes()
        if nbytes > free:
            raise BackendError(
                f"backend 'cuda': the net does not fit (needs {nbytes / 1e9:.2f} GB, {free / 1e9:.2f} GB "
                "are free). Choose a smaller size or a 16-bit precision"
            )
        return self.device.empty((max(1, nbytes),), np.uint8)

    # ---- what the blobs show -----------------------------------------------------------------------

    def forget(self) -> None:
        """Blobs show what is in their own memory again."""
        for shown in self._shown:
            shown.memory.pending = None

    def _show(self) -> None:
        """Lets whoever looks at a blob see its values, or an error where they were not kept."""
        if any(shown.blob.data_memory is not shown.memory for shown in self._shown):
            self._shown = self._shown_now()
        for shown in self._shown:
            memory = shown.memory
            memory.pending, memory.exposed = shown.fill, False
            if shown.kept and is_held(memory):
                shown.fill()
                memory.pending = None

    def _shown_now(self) -> list[_Shown]:
        """Every memory whose blob has newer values elsewhere; blobs that share it have one set of values."""
        compiler, newest = self._compiler, {}
        for layer in compiler.layers:
            if not layer.source:
                for number in layer.tops:
                    blob = compiler.blobs[number]
                    newest[id(blob.data_memory)] = blob, compiler.values[number]
        kept = {id(compiler.values[number]) for number in self._kept}
        result = []
        for blob, value in newest.values():
            if not compiler.is_in_memory(value, blob.data_memory):
                keeps = id(value) in kept or isinstance(value.place, Pinned | BlobMemory)
                fill = _Fill(self.device, compiler, blob, value) if keeps else _Lost(blob.name)
                result.append(_Shown(blob, blob.data_memory, fill, keeps))
        return result


@dataclass(frozen=True, eq=False)
class _Shown:
    """A blob whose memory is behind, and what fills it, or says that it cannot."""

    blob: BlobLike
    memory: MemoryLike
    fill: Launch
    kept: bool


def _in_order(launches: Sequence[Launch]) -> Launch:
    """All launches as one."""

    def run() -> None:
        for launch in launches:
            launch()

    return run


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


class _Fill:
    """Memory.pending of values elsewhere: writes them into the planar array."""

    def __init__(self, device: Device, compiler: Compiler, blob: BlobLike, value: Value) -> None:
        self.device, self.value, self.blob = device, value, blob
        self.storage = compiler.precision.storage
        self.memory = weakref.ref(blob.data_memory)

    def __call__(self) -> None:
        memory, value = self.memory(), self.value
        if memory is None:
            return
        planar = memory.raw(value.shape, self.blob.backend, self.blob.dtype)
        if not value.is_map:  # a ReLU of slope 1 is a copy
            operands = value.place.address, self.device.address(planar), value.count, 1.0
            self.device.kernels.launch("planar_relu", "fp32", value.count, *operands)
            return
        sizes = (*value.shape, value.padded, 2.0**-value.exponent, 0)
        addresses = value.place.address, self.device.address(planar)
        self.device.kernels.launch("to_planar", self.storage, value.groups, *addresses, *sizes)


class _Lost:
    """Memory.pending of a value whose buffer holds another one by now."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> None:
        raise BackendError(
            f"blob '{self.name}': its values were not kept, because this net was built to let them share "
            "memory. Build it with recycle_gradients=False to look at them"
        )
