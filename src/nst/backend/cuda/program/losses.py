"""Gram matrices, squared distances and total variation, with their gradients."""

from __future__ import annotations

import math

import numpy as np

from nst.backend.cuda.device import Device
from nst.backend.cuda.program.compiler import Compiler, Unsupported
from nst.backend.cuda.program.moments import Product, multiply_features
from nst.backend.cuda.program.places import Buffer, Pinned, Place
from nst.backend.cuda.program.values import Gate, Term, Value
from nst.backend.operations import Distance, GramMatrix
from nst.backend.programs import ProgramLayer, TotalVariation

# ---- Gram matrices --------------------------------------------------------------------------------------


def gram_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """G = scale * F F^T per image in fp32, exactly symmetric."""
    operation = layer.operation
    assert isinstance(operation, GramMatrix)
    x = compiler.map_of(layer.bottoms[0])
    y = Value(layer.top_blobs[0].shape, compiler.memory(layer.tops[0]), False)
    multiply_features(compiler, x, y.place, x.shape[1], _scale(operation, x))
    compiler.kernel("symmetrise", y.count, y.place, x.shape[0], x.shape[1], storage="fp32")
    compiler.values[layer.tops[0]] = y
    compiler.gated[layer.index] = x


def gram_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    operation, number = layer.operation, layer.tops[0]
    assert isinstance(operation, GramMatrix)
    if layer.wants[0] and compiler.has_gradient(number):
        x, shape = compiler.gated[layer.index], layer.top_blobs[0].shape
        d = compiler.gradient(number, Value(shape, compiler.memory(number), False))
        scale = _scale(operation, x) if operation.scales_gradient else 1.0
        compiler.add_term(layer.bottoms[0], Product(compiler, x, d.place, scale))


def _scale(operation: GramMatrix, x: Value) -> float:
    divisor = x.shape[2] * x.shape[3] if operation.per_pixel else 1
    return float(operation.scale) / (divisor * (x.shape[1] if operation.per_channel else 1))


# ---- squared distances ----------------------------------------------------------------------------------


def distance_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """L = 1 / 2N * sum (a - b)^2, of two maps or of two planar blobs."""
    assert isinstance(layer.operation, Distance)
    a, b = _operands(compiler, layer)
    partials, blocks = _squares(compiler, a, b, 1.0)
    loss = Value((), compiler.memory(layer.tops[0]), False)
    share = 1.0 / (2 * _images(layer))
    compiler.kernel("finish_sum", 256, partials, loss.place, blocks, share, 0, storage="fp32")
    compiler.values[layer.tops[0]] = loss


def distance_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    for sign, number, wanted in zip((1.0, -1.0), layer.bottoms, layer.wants, strict=True):
        if wanted:
            compiler.add_term(number, _DistanceTerm(compiler, layer, sign))


class _DistanceTerm(Term):
    """da = weight / N * (a - b), computed again from what was compared: nothing is kept."""

    def __init__(self, compiler: Compiler, layer: ProgramLayer, sign: float) -> None:
        self.compiler, self.layer, self.sign = compiler, layer, sign
        self.a, self.b = compiler.compared[layer.index]
        self.is_map = self.a.is_map

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        share = self.sign / _images(self.layer) * 2.0**out.exponent
        alpha, beta = share * 2.0**-self.a.exponent, -share * 2.0**-self.b.exponent
        weight = self.compiler.memory(self.layer.tops[0], "diff")
        self.compiler.combine(self.a, alpha, self.b, beta, out, gate=gate, scalar=weight)
        return True


def _operands(compiler: Compiler, layer: ProgramLayer) -> tuple[Value, Value]:
    """Both bottoms in one layout: maps if one of them is one."""
    a, b = (compiler.value(number) for number in layer.bottoms)
    if a.is_map or b.is_map:
        a, b = (compiler.map_of(number) for number in layer.bottoms)
    if a.shape != b.shape or not a.in_groups:
        raise Unsupported
    compiler.compared[layer.index] = a, b
    return a, b


def _squares(compiler: Compiler, a: Value, b: Value, factor: float) -> tuple[Buffer, int]:
    """Partial sums of (a - factor * b)^2, and how many."""
    storage = compiler.precision.storage if a.is_map else "fp32"
    partials, blocks = compiler.partials(a.groups)
    scales = (2.0**-a.exponent, b.place, factor * 2.0**-b.exponent)
    operands = (a.place, *scales, partials, a.groups)
    compiler.kernel("squared_distance", blocks * 256, *operands, storage=storage)
    return partials, blocks


def _images(layer: ProgramLayer) -> int:
    shape = layer.bottom_blobs[0].shape
    return max(1, shape[0]) if shape else 1


# ---- distances measured by their target ------------------------------------------------------------------


def relative_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """L = |a - b|^2 / |b|^2, of one image."""
    if _images(layer) != 1:
        raise Unsupported
    a, b = _operands(compiler, layer)
    root = compiler.root(layer.bottoms[1])
    share = _share_of(compiler, root) if compiler.is_input(root) else _share_now(compiler, b)
    partials, blocks = _squares(compiler, a, b, 1.0)
    square, loss = compiler.tape.buffer(4), compiler.memory(layer.tops[0])
    compiler.kernel("finish_sum", 256, partials, square, blocks, 1.0, 0, storage="fp32")
    compiler.zero(loss)
    compiler.kernel("axpy", 1, square, loss, 1, 1.0, share, storage="fp32")
    compiler.values[layer.tops[0]] = Value((), loss, False)
    compiler.shares[layer.index] = share


def relative_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    if layer.wants[0]:
        compiler.add_term(layer.bottoms[0], _RelativeTerm(compiler, layer))


class _RelativeTerm(Term):
    """da = 2 weight / |b|^2 * (a - b)."""

    def __init__(self, compiler: Compiler, layer: ProgramLayer) -> None:
        self.compiler, self.layer = compiler, layer
        self.a, self.b = compiler.compared[layer.index]
        self.is_map = self.a.is_map

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        compiler, scale = self.compiler, 2.0**out.exponent
        weight = compiler.memory(self.layer.tops[0], "diff")
        factor, share = compiler.tape.buffer(4), compiler.shares[self.layer.index]
        compiler.zero(factor)
        compiler.kernel("axpy", 1, weight, factor, 1, 2.0, share, storage="fp32")
        alpha, beta = scale * 2.0**-self.a.exponent, -scale * 2.0**-self.b.exponent
        compiler.combine(self.a, alpha, self.b, beta, out, gate=gate, scalar=factor)
        return True


def _share_of(compiler: Compiler, number: int) -> Pinned:
    """1 / |b|^2 of an input in double, on the device; found when somebody has written to it."""
    blob, device = compiler.blobs[number], compiler.device
    array = device.empty((1,), np.float64)

    def measure(device: Device) -> None:
        values = blob.backend.to_host(blob.data).astype(np.float64)
        array[...] = device.upload(np.array([1.0 / ((values * values).sum() or 1.0)]))

    compiler.refreshes.append((blob, measure))
    return Pinned(array, device.address(array))


def _share_now(compiler: Compiler, b: Value) -> Buffer:
    """The same of a target that the net computes, in every run."""
    partials, blocks = _squares(compiler, b, b, 0.0)
    share = compiler.tape.buffer(8)
    compiler.kernel("finish_inverse", 256, partials, share, blocks, storage="fp32")
    return share


# ---- total variation ------------------------------------------------------------------------------------


def variation_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """The sum over the planar picture; nine points: its mean."""
    rule = layer.operation
    assert isinstance(rule, TotalVariation)
    x = compiler.planes_of(layer.bottoms[0])
    sizes = (math.prod(x.shape[:2]), *x.shape[2:])
    partials, blocks = compiler.partials(x.count)
    form = (rule.beta, rule.epsilon, int(rule.nine_point))
    compiler.kernel("tv_loss", blocks * 256, x.place, partials, *sizes, *form, storage="fp32")
    loss = Value((), compiler.memory(layer.tops[0]), False)
    share = 1.0 / x.count if rule.nine_point else 1.0
    compiler.kernel("finish_sum", 256, partials, loss.place, blocks, share, 0, storage="fp32")
    compiler.values[layer.tops[0]] = loss


def variation_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    if layer.wants[0]:
        compiler.add_term(layer.bottoms[0], _VariationTerm(compiler, layer))


class _VariationTerm(Term):
    is_map = False
    can_add = True

    def __init__(self, compiler: Compiler, layer: ProgramLayer) -> None:
        self.compiler, self.layer = compiler, layer

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        rule = self.layer.operation
        assert isinstance(rule, TotalVariation)
        picture = self.compiler.memory(self.layer.bottoms[0])
        weight: Place = self.compiler.memory(self.layer.tops[0], "diff")
        if rule.nine_point:  # its loss is a mean
            weight, whole = self.compiler.tape.buffer(4), weight
            self.compiler.zero(weight)
            share = 1.0 / math.prod(out.shape)
            self.compiler.kernel("axpy", 1, whole, weight, 1, share, 0, storage="fp32")
        sizes = (math.prod(out.shape[:2]), *out.shape[2:])
        form = (rule.beta, rule.epsilon, int(rule.nine_point), int(adds))
        operands = (picture, weight, out.place)
        self.compiler.kernel("tv_gradient", out.count, *operands, *sizes, *form, storage="fp32")
        return False
