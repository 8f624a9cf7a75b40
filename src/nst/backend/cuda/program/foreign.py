"""Layers that run by their own code, on planar blobs, in the middle of a program.

They make memory and may wait for the device, so that they are not recorded; what is before and after them is.
"""

from __future__ import annotations

from nst.backend.cuda.device import Launch
from nst.backend.cuda.program.compiler import Compiler
from nst.backend.cuda.program.places import BlobMemory
from nst.backend.cuda.program.values import Gate, Term, Value
from nst.backend.programs import ProgramLayer


def forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """Shows the bottoms in their blobs, runs the layer, and finds the tops in theirs."""
    places = [compiler.planes_of(number).place for number in layer.bottoms]
    tops = [compiler.memory(number) for number in layer.tops]
    compiler.call(f"layer {layer.name}", layer.forward, *places, *tops)
    for number, blob, place in zip(layer.tops, layer.top_blobs, tops, strict=True):
        compiler.values[number] = Value(blob.shape, place, False)
    compiler.foreign.add(layer.index)


def backward(compiler: Compiler, layer: ProgramLayer) -> None:
    """Shows the tops' gradients in their blobs and runs the layer; what it writes are terms."""
    for number, blob, is_loss in zip(layer.tops, layer.top_blobs, layer.is_loss, strict=True):
        place = compiler.memory(number, "diff")
        if compiler.has_gradient(number):
            compiler.sum_into(Value(blob.shape, place, False), number)
        elif not is_loss:
            compiler.call("no gradient", _clear(place), place)
    compiler.call(f"layer {layer.name} backward", layer.backward)
    for number, blob, wanted in zip(layer.bottoms, layer.bottom_blobs, layer.wants, strict=True):
        if wanted:
            place = compiler.memory(number, "diff")
            compiler.add_term(number, _Written(compiler, Value(blob.shape, place, False)))


def _clear(place: BlobMemory) -> Launch:
    def clear() -> None:
        place.view()[...] = 0

    return clear


class _Written(Term):
    """What a layer wrote into the diff of its bottom."""

    is_map = False
    can_add = True

    def __init__(self, compiler: Compiler, value: Value) -> None:
        self.compiler, self.source = compiler, value

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        if out.place is self.source.place:
            return False
        if adds:
            self.compiler.add(self.source, out)
        else:  # a ReLU of slope 1 is a copy
            operands = (self.source.place, out.place, out.count, 1.0)
            self.compiler.kernel("planar_relu", out.count, *operands, storage="fp32")
        return False
