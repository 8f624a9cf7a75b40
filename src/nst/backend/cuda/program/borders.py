"""Borders of maps, as Pad adds them and Trim takes them away."""

from __future__ import annotations

from nst.backend.cuda.program.compiler import Compiler
from nst.backend.cuda.program.features import map_like, rescaled
from nst.backend.cuda.program.values import Gate, Term, Value
from nst.backend.operations import Border
from nst.backend.programs import Inside, ProgramLayer


def forward(compiler: Compiler, layer: ProgramLayer) -> None:
    x = compiler.map_of(layer.bottoms[0])
    y = compiler.new_map(layer.top_blobs[0].shape, x.exponent)
    compiler.kernel("pad", y.groups, x.place, y.place, *_sizes(layer, x))
    compiler.values[layer.tops[0]] = y


def backward(compiler: Compiler, layer: ProgramLayer) -> None:
    number = layer.tops[0]
    if layer.wants[0] and compiler.has_gradient(number):
        dy = compiler.gradient(number, map_like(layer.top_blobs[0].shape))
        compiler.add_term(layer.bottoms[0], _Unpadded(compiler, layer, dy))


class _Unpadded(Term):
    """The gradient without its border, each line of which goes back to where it was copied from."""

    def __init__(self, compiler: Compiler, layer: ProgramLayer, dy: Value) -> None:
        self.compiler, self.layer, self.dy = compiler, layer, dy

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        dy = rescaled(self.compiler, self.dy, out.exponent)
        sizes = _sizes(self.layer, out)
        self.compiler.kernel("pad_backward", out.groups, dy.place, out.place, *sizes)
        return False


def _sizes(layer: ProgramLayer, inside: Value) -> tuple[int, ...]:
    rule = layer.operation
    assert isinstance(rule, Border)
    return (inside.shape[0], *inside.shape[2:], inside.padded, *rule.pads, rule.mode)


# ---- Trim: backward and forward of a border of zeros -------------------------------------------------------

_ZERO = 2
"""PadParameter.ZERO."""


def trim_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    x = compiler.map_of(layer.bottoms[0])
    y = compiler.new_map(layer.top_blobs[0].shape, x.exponent)
    compiler.kernel("pad_backward", y.groups, x.place, y.place, *_trimmed(layer, y))
    compiler.values[layer.tops[0]] = y


def trim_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    number = layer.tops[0]
    if layer.wants[0] and compiler.has_gradient(number):
        dy = compiler.gradient(number, map_like(layer.top_blobs[0].shape))
        compiler.add_term(layer.bottoms[0], _Framed(compiler, layer, dy))


class _Framed(Term):
    """The gradient, and zeros around it."""

    def __init__(self, compiler: Compiler, layer: ProgramLayer, dy: Value) -> None:
        self.compiler, self.layer, self.dy = compiler, layer, dy

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        dy = rescaled(self.compiler, self.dy, out.exponent)
        sizes = _trimmed(self.layer, dy)
        self.compiler.kernel("pad", out.groups, dy.place, out.place, *sizes)
        return False


def _trimmed(layer: ProgramLayer, inside: Value) -> tuple[int, ...]:
    rule = layer.operation
    assert isinstance(rule, Inside)
    return (inside.shape[0], *inside.shape[2:], inside.padded, *rule.margins, _ZERO)
