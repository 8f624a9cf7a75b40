"""Pooling, local response normalisation, splits, joins and factors."""

from __future__ import annotations

import math

from nst.backend.cuda.program.compiler import Compiler, Unsupported
from nst.backend.cuda.program.convolutions import is_small_pool
from nst.backend.cuda.program.places import Buffer, Pinned
from nst.backend.cuda.program.rectifiers import Done
from nst.backend.cuda.program.values import Gate, Term, Value
from nst.backend.geometry import PoolGeometry
from nst.backend.operations import AddUp, Join, Multiply, Normalise, Pool
from nst.backend.programs import ProgramLayer

MOST_TAPS = 255
"""Window positions that one byte can tell apart."""


def pool_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """Pooling; what backward needs is kept per layer."""
    operation = layer.operation
    assert isinstance(operation, Pool)
    window = _window(layer)
    if operation.takes_max and window.kernel[0] * window.kernel[1] > MOST_TAPS:
        raise Unsupported
    x = compiler.map_of(layer.bottoms[0])
    y = compiler.new_map(layer.top_blobs[0].shape, x.exponent)
    if is_small_pool(layer):
        winner, positive = compiler.tape.buffer(2 * y.groups), compiler.tape.buffer(y.groups)
        compiler.kept[layer.index] = winner, positive
        sizes = (x.shape[0], *x.shape[2:], x.padded, *y.shape[2:])
        operands = (x.place, y.place, winner, positive)
        compiler.kernel("max_pool_2x2", y.groups, *operands, *sizes)
    elif operation.takes_max:
        code = compiler.tape.buffer(y.groups * 8)
        compiler.kept[layer.index] = (code,)
        sizes = _sizes(x, y, window)
        compiler.kernel("max_pool", y.groups, x.place, y.place, code, *sizes)
    else:
        compiler.kernel("avg_pool", y.groups, x.place, y.place, *_sizes(x, y, window))
    compiler.values[layer.tops[0]] = y


def pool_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    number = layer.tops[0]
    kept = compiler.kept.pop(layer.index, ())
    if not layer.wants[0] or not compiler.has_gradient(number):
        return
    dy = compiler.gradient(number, map_like(layer.top_blobs[0].shape))
    compiler.add_term(layer.bottoms[0], _Pooled(compiler, layer, dy, kept))


class _Pooled(Term):
    """The gradient of a pooling's input."""

    def __init__(
        self, compiler: Compiler, layer: ProgramLayer, dy: Value, kept: tuple[Buffer, ...]
    ) -> None:
        self.compiler, self.layer, self.dy, self.kept = compiler, layer, dy, kept

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        compiler, operation, kernel = self.compiler, self.layer.operation, self.compiler.kernel
        assert isinstance(operation, Pool)
        dy = rescaled(compiler, self.dy, out.exponent)
        if is_small_pool(self.layer):
            winner, positive = self.kept
            gated = gate is not None and gate.by_pool
            sizes = (out.shape[0], *out.shape[2:], out.padded, *dy.shape[2:])
            masks = (winner, positive if gated else 0)
            kernel("max_pool_2x2_backward", out.groups, dy.place, *masks, out.place, *sizes)
            return gated
        sizes = _sizes(out, dy, _window(self.layer))
        name = "max_pool_backward" if operation.takes_max else "avg_pool_backward"
        kernel(name, out.groups, dy.place, *self.kept, out.place, *sizes)
        return False


def normalise_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """LRN; keeps its input, output and divisors."""
    rule = layer.operation
    assert isinstance(rule, Normalise)
    x = compiler.map_of(layer.bottoms[0])
    y = compiler.new_map(x.shape, x.exponent)
    norm = compiler.tape.buffer(4 * x.positions * x.padded)
    sizes = (x.positions, x.shape[1], x.padded, rule.size)
    factors = (rule.alpha, rule.beta, rule.k, 2.0**-x.exponent)
    compiler.kernel("lrn", y.groups, x.place, norm, y.place, *sizes, *factors)
    compiler.values[layer.tops[0]] = y
    compiler.normalised[layer.index] = x, y, norm


def normalise_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    number = layer.tops[0]
    if layer.wants[0] and compiler.has_gradient(number):
        dy = compiler.gradient(number, map_like(layer.top_blobs[0].shape))
        compiler.add_term(layer.bottoms[0], _Normalised(compiler, layer, dy))


class _Normalised(Term):
    def __init__(self, compiler: Compiler, layer: ProgramLayer, dy: Value) -> None:
        self.compiler, self.layer, self.dy = compiler, layer, dy

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        rule = self.layer.operation
        assert isinstance(rule, Normalise)
        x, y, norm = self.compiler.normalised[self.layer.index]
        operands = (x.place, y.place, norm, self.dy.place, out.place)
        sizes = (x.positions, x.shape[1], x.padded, rule.size)
        rescale = 2.0 ** (out.exponent - self.dy.exponent)
        factors = (rule.alpha, rule.beta, 2.0**-x.exponent, rescale)
        self.compiler.kernel("lrn_backward", out.groups, *operands, *sizes, *factors)
        return False


def fork_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """A split: its tops are its bottom."""
    for top in layer.tops:
        compiler.values[top] = compiler.value(layer.bottoms[0])
        compiler.shared[top] = layer.bottoms[0]


def fork_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    """The terms of the tops are terms of the bottom."""
    for top in layer.tops:
        for term in compiler.terms.pop(top, []):
            if layer.wants[0]:
                compiler.add_term(layer.bottoms[0], term)


def join_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """Concatenation of channels, at the scale of the first bottom."""
    assert isinstance(layer.operation, Join)
    if any(blob.shape[1] % 8 for blob in layer.bottom_blobs):
        raise Unsupported  # the channels that fill up a group of 8 would stay unwritten
    parts = [compiler.map_of(number) for number in layer.bottoms]
    y = compiler.new_map(layer.top_blobs[0].shape, min(part.exponent for part in parts))
    first = 0
    for part in parts:
        scale = 2.0 ** (y.exponent - part.exponent)
        sizes = (y.place, y.padded, first, part.shape[1], part.positions, scale, 0)
        threads = part.positions * part.shape[1]
        compiler.kernel("copy_channels", threads, part.place, part.padded, 0, *sizes)
        first += part.shape[1]
    compiler.values[layer.tops[0]] = y


def join_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    if not compiler.has_gradient(layer.tops[0]):
        return
    dy = compiler.gradient(layer.tops[0], map_like(layer.top_blobs[0].shape))
    first = 0
    for number, blob, wanted in zip(layer.bottoms, layer.bottom_blobs, layer.wants, strict=True):
        if wanted:
            compiler.add_term(number, _Channels(compiler, dy, first))
        first += blob.shape[1]


class _Channels(Term):
    """A range of a joined gradient's channels."""

    can_add = True

    def __init__(self, compiler: Compiler, dy: Value, first: int) -> None:
        self.compiler, self.dy, self.first = compiler, dy, first

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        channels = out.shape[1]
        scale = 2.0 ** (out.exponent - self.dy.exponent)
        sizes = (out.place, out.padded, 0, channels, out.positions, scale, int(adds))
        source = (self.dy.place, self.dy.padded, self.first)
        self.compiler.kernel("copy_channels", out.positions * channels, *source, *sizes)
        return False


def sum_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """Eltwise SUM. A ReLU in place after it is a launch of its own."""
    rule = layer.operation
    assert isinstance(rule, AddUp)
    parts = [compiler.map_of(number) for number in layer.bottoms]
    lowest = min(part.exponent for part in parts)
    exponent = compiler.exponents.get(f"a{layer.tops[0]}", lowest)
    y = compiler.new_map(layer.top_blobs[0].shape, exponent)
    factors = [
        f * 2.0 ** (y.exponent - x.exponent) for f, x in zip(rule.factors, parts, strict=True)
    ]
    compiler.combine(parts[0], factors[0], parts[1], factors[1], y)
    for part, factor in zip(parts[2:], factors[2:], strict=True):
        compiler.combine(y, 1.0, part, factor, y)
    compiler.observe(f"a{layer.tops[0]}", y)
    compiler.values[layer.tops[0]] = y


def sum_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    rule = layer.operation
    assert isinstance(rule, AddUp)
    if not compiler.has_gradient(layer.tops[0]):
        return
    dy = compiler.gradient(layer.tops[0], map_like(layer.top_blobs[0].shape))
    for number, factor, wanted in zip(layer.bottoms, rule.factors, layer.wants, strict=True):
        if wanted:
            compiler.add_term(number, Done(compiler, dy, factor))


def multiply_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """y = factor * x; nothing at all for a factor of 1. The power of two goes with the factor's."""
    operation = layer.operation
    assert isinstance(operation, Multiply)
    number, factor = layer.bottoms[0], operation.factor
    x = compiler.map_of(number) if compiler.is_input(number) else compiler.value(number)
    if not x.in_groups:
        raise Unsupported
    if factor != 0 and layer.tops[0] != number:
        compiler.scaled[layer.tops[0]] = number
    if factor == 1.0 and x.is_map:
        compiler.values[layer.tops[0]] = x
        return
    exponent = x.exponent - math.frexp(factor)[1] if x.is_map else x.exponent
    y = compiler.new_like(x, exponent)
    compiler.combine(x, factor * 2.0 ** (exponent - x.exponent), None, 0.0, y)
    compiler.values[layer.tops[0]] = y


def multiply_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    operation = layer.operation
    assert isinstance(operation, Multiply)
    pass_on(compiler, layer, operation.back, None)


def pass_on(compiler: Compiler, layer: ProgramLayer, factor: float, gate: Gate | None) -> None:
    """Leaves the gradient of the top, times a factor and behind a gate, as a term of the bottom."""
    number = layer.tops[0]
    if not compiler.has_gradient(number):
        return
    if not layer.wants[0]:
        compiler.terms.pop(number)
        return
    if factor == 1.0 and gate is None:
        for term in compiler.terms.pop(number):
            compiler.add_term(layer.bottoms[0], term)
        return
    like = compiler.seen[number]
    dy = compiler.gradient(number, like)
    compiler.add_term(layer.bottoms[0], Done(compiler, dy, factor, gate))


# ---- sizes ----------------------------------------------------------------------------------------------


def map_like(shape: tuple[int, ...]) -> Value:
    """The layout of a map of this shape, without a place."""
    return Value(shape, Pinned(None, 0), True)


def rescaled(compiler: Compiler, dy: Value, exponent: int) -> Value:
    """A gradient at another power of two."""
    if dy.exponent == exponent:
        return dy
    result = compiler.new_like(dy, exponent)
    compiler.combine(dy, 2.0 ** (exponent - dy.exponent), None, 0.0, result)
    return result


def _window(layer: ProgramLayer) -> PoolGeometry:
    operation = layer.operation
    assert isinstance(operation, Pool)
    height, width = layer.bottom_blobs[0].shape[2:]
    return operation.window or PoolGeometry((height, width), (1, 1), (0, 0))


def _sizes(x: Value, y: Value, window: PoolGeometry) -> tuple[int, ...]:
    return (
        *(x.shape[0], *x.shape[2:], x.padded, *y.shape[2:]),
        *(*window.kernel, *window.stride, *window.pad),
    )
