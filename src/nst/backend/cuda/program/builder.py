"""Builder: puts kernels on a tape, and knows the places that they work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nst.backend.cuda.device import CompileTarget, Device, Launch, Precision
from nst.backend.cuda.graphs import ITEM_BYTES
from nst.backend.cuda.program.places import BlobMemory, Buffer, Part, Pinned, Place
from nst.backend.cuda.program.tape import Tape
from nst.backend.cuda.program.values import Gate, Value
from nst.backend.operations import BlobLike
from nst.backend.programs import ProgramLayer

REDUCTION_BLOCKS = 1024
"""Most partial sums of a reduction."""


class Builder:
    """The half of the compiler that knows no layers.

    exponents: of activations and gradients, for fp16, by the keys of `observe`. calibrating: note the largest
    magnitudes under those keys.
    """

    def __init__(
        self,
        device: CompileTarget,
        precision: Precision,
        layers: Sequence[ProgramLayer],
        exponents: Mapping[str, int],
        *,
        calibrating: bool = False,
    ) -> None:
        self.device, self.precision = device, precision
        self.exponents, self.calibrating = exponents, calibrating
        self.tape = Tape()
        self.blobs: dict[int, BlobLike] = {}
        for layer in layers:
            self.blobs.update(zip(layer.bottoms, layer.bottom_blobs, strict=True))
            self.blobs.update(zip(layer.tops, layer.top_blobs, strict=True))
        self.memories: dict[tuple[int, str], BlobMemory] = {}
        self.workspace = 0
        """Bytes of scratch memory that the convolutions need."""
        self.workspace_place = Pinned(None, 0)
        self.refreshes: list[tuple[BlobLike, Callable[[Device], None]]] = []
        """What to do again, outside the tape, when somebody has written to an input or to weights."""
        self.constants: list[Any] = []
        self.observed: list[str] = []
        self.observations = Pinned(None, 0)
        self.scalars = self.pinned(np.array([0.0, 1.0], np.float32))
        """Constants for products that read their factors on the device."""

    @property
    def item_bytes(self) -> int:
        """Bytes of one value of a map."""
        return ITEM_BYTES[self.precision.storage]

    # ---- places ------------------------------------------------------------------------------------

    def new_map(self, shape: tuple[int, ...], exponent: int = 0) -> Value:
        """A map in a buffer of the arena."""
        value = Value(shape, Pinned(None, 0), True, exponent)
        nbytes = value.positions * value.padded * ITEM_BYTES[self.precision.storage]
        value.place = self.tape.buffer(nbytes)
        return value

    def new_like(self, value: Value, exponent: int | None = None) -> Value:
        """A buffer for values of the same shape and layout."""
        if value.is_map:
            return self.new_map(value.shape, value.exponent if exponent is None else exponent)
        return Value(value.shape, self.tape.buffer(value.count * 4), False)

    def pinned(self, host: Any) -> Pinned:
        """Host values in an array of their own. It is kept here, since launches know its address only."""
        array = self.device.upload(host)
        self.constants.append(array)
        return Pinned(array, self.device.address(array))

    def memory(self, number: int, side: str = "data") -> BlobMemory:
        """The planar memory of a blob."""
        key = (number, side)
        if key not in self.memories:
            blob = self.blobs[number]
            self.memories[key] = BlobMemory(blob, getattr(blob, f"{side}_memory"))
        return self.memories[key]

    # ---- launches ----------------------------------------------------------------------------------

    def kernel(
        self, name: str, threads: int, *arguments: Place | float, storage: str | None = None
    ) -> None:
        """One of our kernels; places among the arguments become addresses."""
        kind = storage or self.precision.storage

        def bind(device: Device) -> Launch:
            values = [a if isinstance(a, int | float) else a.address for a in arguments]
            launch = device.kernels.launch
            return lambda: launch(name, kind, threads, *values)

        self.tape.add(name, bind, [a for a in arguments if not isinstance(a, int | float)])

    def call(self, label: str, work: Launch, *places: Place) -> None:
        """Work of any kind that launches on the device's stream, and may wait for it."""
        self.tape.add(label, lambda _: work, places, may_wait=True)

    def partials(self, count: int) -> tuple[Buffer, int]:
        """A buffer for the partial sums over `count` threads' worth of work, and how many there are."""
        blocks = max(1, min(REDUCTION_BLOCKS, -(-count // 256)))
        return self.tape.buffer(8 * blocks), blocks

    def zero(self, place: Place) -> None:
        """Sets one float to 0: the sum of no numbers."""
        self.kernel("finish_sum", 256, place, place, 0, 1.0, 0, storage="fp32")

    def observe(self, key: str, value: Value) -> None:
        """While calibrating, notes the largest magnitude of a map."""
        if not self.calibrating or not value.is_map:
            return
        if key not in self.observed:
            self.observed.append(key)
        place = Part(self.observations, 4 * self.observed.index(key))
        threads = min(REDUCTION_BLOCKS * 256, max(256, value.groups))
        self.kernel("amax", threads, value.place, place, value.groups)

    # ---- sums ----------------------------------------------------------------------------------------

    def combine(
        self,
        a: Value,
        alpha: float,
        b: Value | None,
        beta: float,
        out: Value,
        *,
        gate: Gate | None = None,
        scalar: Place | float = 0,
    ) -> None:
        """out = gate * scalar * (alpha * a + beta * b); exponents are the caller's business."""
        storage = self.precision.storage if out.is_map else "fp32"
        second: Place | float = 0 if b is None else b.place
        values: Place | float = 0 if gate is None or gate.values is None else gate.values.place
        bits: Place | float = 0 if gate is None or gate.bits is None else gate.bits
        slope = 0.0 if gate is None else gate.slope
        operands = (a.place, alpha, second, beta, scalar, values, bits, slope, out.place)
        self.kernel("combine", out.groups, *operands, out.groups, storage=storage)

    def add(self, part: Value, out: Value) -> None:
        """out += part, of one layout and exponent."""
        if out.in_groups:
            self.combine(out, 1.0, part, 1.0, out)
        else:
            sizes = (part.place, out.place, out.count, 1.0, 0)
            self.kernel("axpy", out.count, *sizes, storage="fp32")
