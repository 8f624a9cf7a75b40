"""Compiler: walks the layers of a net forward and backward and puts launches on a tape.

Forward, every blob's newest value is known by the blob's number. Backward, a layer leaves *terms* for the
gradients of its bottoms; they are put on the tape only when the gradient is needed, so that a sum is
written into one buffer, by kernels that add and that apply the ReLU's gate on the way where they can.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nst.backend.cuda.device import CompileTarget, Device, Precision
from nst.backend.cuda.graphs import ITEM_BYTES
from nst.backend.cuda.program.builder import Builder
from nst.backend.cuda.program.places import BlobMemory, Buffer, Pinned
from nst.backend.cuda.program.values import Gate, Roots, Term, Value
from nst.backend.operations import MemoryLike
from nst.backend.programs import ProgramLayer


class Unsupported(Exception):
    """The layer cannot be compiled so; its own code is taken."""


@dataclass(frozen=True)
class Alarms:
    """Addresses of counters on the device for whoever reads the losses of a run; 0: nobody asks."""

    not_finite: int = 0
    """Values of the learned blobs' gradients that are not finite."""
    unsettled: Mapping[int, int] = field(default_factory=dict)
    """By layer: values of a matrix whose root was not found."""


NO_ALARMS = Alarms()


class Compiler(Builder):
    """What the operations' emitters share: the values so far, the terms to come, and by layer what the
    forward pass leaves to the backward pass.

    declined: numbers of layers that are to run by their own code.
    """

    def __init__(
        self,
        device: CompileTarget,
        precision: Precision,
        layers: Sequence[ProgramLayer],
        exponents: Mapping[str, int],
        *,
        calibrating: bool = False,
        alarms: Alarms = NO_ALARMS,
        declined: Collection[int] = (),
    ) -> None:
        super().__init__(device, precision, layers, exponents, calibrating=calibrating)
        self.layers, self.alarms, self.declined = layers, alarms, declined
        self.values: dict[int, Value] = {}
        self.terms: dict[int, list[Term]] = {}
        self.seen: dict[int, Value] = {}
        """The last value of every blob of the forward pass: the layout of its gradient."""
        self.shared: dict[int, int] = {}
        """Blobs whose values are another blob's."""
        self.planes: dict[int, Value] = {}
        """Values that were written last to a planar memory, by its id."""
        self.maps: dict[int, tuple[Value, Value]] = {}
        """Planar values and the maps that were made of them."""
        self.converted: dict[int, Value] = {}
        """Maps of inputs, made when somebody has written to them."""
        self.filters: dict[tuple[int, int], Pinned] = {}
        """Weights on the device, by blob and power of two."""
        self.foreign: set[int] = set()
        """Layers that run by their own code."""
        self.gates: dict[int, Gate] = {}
        """Of convolutions with their ReLU, and of other ReLUs."""
        self.kept: dict[int, tuple[Buffer, ...]] = {}
        """Winners of max poolings."""
        self.normalised: dict[int, tuple[Value, Value, Buffer]] = {}
        """Of LRN."""
        self.gated: dict[int, Value] = {}
        """Bottoms of Event and Gram."""
        self.compared: dict[int, tuple[Value, Value]] = {}
        """Bottoms of distances, in one layout."""
        self.shares: dict[int, Buffer | Pinned] = {}
        """1 / |target|^2 of relative distances."""
        self.factors: dict[int, Pinned] = {}
        """Of channels, by layer."""
        self.weights: dict[tuple[int, str], Pinned] = {}
        """Of places, by mask and kind."""
        self.scaled: dict[int, int] = {}
        """Blobs that are multiples of other blobs."""
        self.roots: dict[int, Roots] = {}
        """Of Wasserstein distances."""

    # ---- values ------------------------------------------------------------------------------------

    def value(self, number: int) -> Value:
        """The newest value of a blob; a blob that nobody has computed is planar in its own memory."""
        if number not in self.values:
            shape = self.blobs[number].shape
            self.values[number] = Value(shape, self.memory(number), False)
        return self.values[number]

    def map_of(self, number: int) -> Value:
        """The newest value as a map. That of an input is converted when somebody has written to it, not in
        every run."""
        value = self.value(number)
        if value.is_map:
            return value
        before, result = self.maps.get(number, (None, value))
        if before is value:
            return result
        if len(value.shape) != 4 or value.count == 0:
            raise Unsupported
        result = self.new_map(value.shape, self.exponents.get(f"a{number}", 0))
        n, c, h, w = value.shape
        sizes = (n, c, h, w, result.padded, 2.0**result.exponent)
        if self.is_input(number):
            root = self.root(number)
            if root not in self.converted:
                self.converted[root] = self._converted_input(root, result, sizes)
            result = self.converted[root]
        else:
            self.kernel("to_map", result.groups, value.place, result.place, *sizes)
        self.observe(f"a{number}", result)
        self.maps[number] = value, result
        return result

    def planes_of(self, number: int) -> Value:
        """The newest value in the blob's own memory."""
        value, place = self.value(number), self.memory(number)
        if not value.is_map:
            if not place.is_same(value.place):  # the top of an Event; a ReLU of slope 1 is a copy
                operands = (value.place, place, value.count, 1.0)
                self.kernel("planar_relu", value.count, *operands, storage="fp32")
                self.planes[id(place.memory)] = value
            return Value(value.shape, place, False)
        n, c, h, w = value.shape
        sizes = (n, c, h, w, value.padded, 2.0**-value.exponent, 0)
        self.kernel("to_planar", value.groups, value.place, place, *sizes)
        self.planes[id(place.memory)] = value
        return Value(value.shape, place, False)

    def is_in_memory(self, value: Value, memory: MemoryLike) -> bool:
        """Whether values are in this planar memory after a run."""
        is_own = isinstance(value.place, BlobMemory) and value.place.memory is memory
        return is_own or self.planes.get(id(memory)) is value

    def root(self, number: int) -> int:
        """The blob whose values a split's top shares."""
        while number in self.shared:
            number = self.shared[number]
        return number

    def is_input(self, number: int) -> bool:
        """Whether a blob is one that users write between runs."""
        number = self.root(number)
        return any(layer.source == "input" and number in layer.tops for layer in self.layers)

    def _converted_input(self, number: int, like: Value, sizes: tuple[float, ...]) -> Value:
        nbytes = like.groups * 8 * ITEM_BYTES[self.precision.storage]
        array = self.device.empty((nbytes,), np.uint8)
        result = Value(like.shape, Pinned(array, self.device.address(array)), True, like.exponent)
        source, storage = self.memory(number), self.precision.storage

        def convert(device: Device) -> None:
            addresses = source.address, result.place.address
            device.kernels.launch("to_map", storage, result.groups, *addresses, *sizes)

        self.refreshes.append((self.blobs[number], convert))
        return result

    def keep_values(self) -> set[int]:
        """Keeps to the end of the tape what is wanted after a run; returns the numbers of those blobs."""
        wanted = {
            number
            for layer in self.layers
            for number, keeps in zip(layer.tops, layer.keeps, strict=True)
            if keeps and number in self.values
        }
        places = (self.values[number].place for number in wanted)
        self.tape.keep(place for place in places if isinstance(place, Buffer))
        return wanted

    # ---- gradients ---------------------------------------------------------------------------------

    def add_term(self, number: int, term: Term) -> None:
        """Leaves a term for the gradient of a blob."""
        self.terms.setdefault(number, []).append(term)

    def has_gradient(self, number: int) -> bool:
        return bool(self.terms.get(number))

    def gradient(self, number: int, like: Value, gate: Gate | None = None) -> Value:
        """The sum of a blob's terms, in the layout of `like`."""
        out = self.new_like(like, self.exponents.get(f"d{number}", 0))
        self.sum_into(out, number, gate)
        self.observe(f"d{number}", out)
        return out

    def sum_into(self, out: Value, number: int, gate: Gate | None = None) -> None:
        """Puts the terms of a blob on the tape, the ones that can only overwrite first."""
        terms = sorted(self.terms.pop(number), key=lambda term: term.can_add)
        gated = False
        for i, term in enumerate(terms):
            is_last = (
                i == len(terms) - 1
            )  # the gate is for all of the sum, and so for the last term
            gated = self._emit(term, out, i > 0, gate if is_last else None, f"d{number}")
        if gate is not None and not gated:
            self.combine(out, 1.0, None, 0.0, out, gate=gate)

    def _emit(self, term: Term, out: Value, adds: bool, gate: Gate | None, key: str) -> bool:
        if term.is_map != out.is_map:
            self._emit_converted(term, out, adds, key)
            return False
        if not adds or term.can_add:
            return term.emit(out, adds, gate)
        part = self.new_like(out)
        term.emit(part, False, None)
        self.add(part, out)
        return False

    def _emit_converted(self, term: Term, out: Value, adds: bool, key: str) -> None:
        """A term in the other layout than the sum."""
        n, c, h, w = out.shape
        if term.is_map:
            part = self.new_map(out.shape, self.exponents.get(key, 0))
            term.emit(part, False, None)
            self.observe(key, part)
            sizes = (n, c, h, w, part.padded, 2.0**-part.exponent, int(adds))
            self.kernel("to_planar", part.groups, part.place, out.place, *sizes)
            return
        part = Value(out.shape, self.tape.buffer(out.count * 4), False)
        term.emit(part, False, None)
        target = self.new_like(out) if adds else out
        layout = (n, c, h, w, out.padded, 2.0**out.exponent)
        self.kernel("to_map", out.groups, part.place, target.place, *layout)
        if adds:
            self.add(target, out)


Emitter = Callable[[Compiler, ProgramLayer], None]
