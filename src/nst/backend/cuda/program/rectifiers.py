"""ReLUs that are no part of their convolution, and gradients that only pass a factor and a gate."""

from __future__ import annotations

from nst.backend.cuda.program.compiler import Compiler
from nst.backend.cuda.program.places import Pinned
from nst.backend.cuda.program.values import Gate, Term, Value
from nst.backend.operations import Convolve, Rectify
from nst.backend.programs import ProgramLayer


def forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """ReLU: already done by its convolution, or a pass of its own."""
    operation = layer.operation
    assert isinstance(operation, Rectify)
    if _was_rectified(compiler, layer):
        return
    x = compiler.map_of(layer.bottoms[0])
    y = compiler.new_map(x.shape, x.exponent)
    compiler.kernel("relu", y.groups, x.place, y.place, float(operation.slope), y.groups)
    compiler.values[layer.tops[0]] = y
    compiler.gates[layer.index] = Gate(values=y, slope=operation.slope)


def backward(compiler: Compiler, layer: ProgramLayer) -> None:
    """A term behind the gate; of a rectified convolution the gate is the convolution's business."""
    gate = compiler.gates.pop(layer.index, None)
    number = layer.tops[0]
    if gate is None:
        return
    if not compiler.has_gradient(number):
        return
    like = Value(layer.top_blobs[0].shape, Pinned(None, 0), True)
    compiler.add_term(layer.bottoms[0], Done(compiler, compiler.gradient(number, like, gate)))


def _was_rectified(compiler: Compiler, layer: ProgramLayer) -> bool:
    """Whether the layer before is a convolution that has applied this ReLU."""
    before = compiler.layers[layer.index - 1] if layer.index else None
    return (
        before is not None
        and isinstance(before.operation, Convolve)
        and before.operation.rectified
        and before.tops == layer.bottoms
        and before.index not in compiler.foreign
    )


class Done(Term):
    """A gradient that is there already, times a factor."""

    can_add = True

    def __init__(
        self, compiler: Compiler, value: Value, factor: float = 1.0, gate: Gate | None = None
    ) -> None:
        self.compiler, self.source, self.factor, self.gate = compiler, value, factor, gate
        self.is_map = value.is_map

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        factor = self.factor * 2.0 ** (out.exponent - self.source.exponent)
        if self.gate is not None and (adds or gate is not None):
            part = self.compiler.new_like(out)
            self.compiler.combine(self.source, factor, None, 0.0, part, gate=self.gate)
            return self._add(part, 1.0, out, adds, gate)
        return self._add(self.source, factor, out, adds, gate or self.gate)

    def _add(self, part: Value, factor: float, out: Value, adds: bool, gate: Gate | None) -> bool:
        before = out if adds else None
        self.compiler.combine(part, factor, before, 1.0, out, gate=gate)
        return True
