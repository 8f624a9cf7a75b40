"""Gram matrices, squared distances and total variation, with their gradients."""

from __future__ import annotations

import math

from nst.backend.cuda.cublas import Matrix
from nst.backend.cuda.device import Launch
from nst.backend.cuda.program.compiler import Compiler, Unsupported
from nst.backend.cuda.program.places import Part, Place
from nst.backend.cuda.program.values import Gate, Term, Value
from nst.backend.operations import Distance, GramMatrix, ProgramLayer, TotalVariation

GRAM_TARGET = 2.0**11
"""Largest value of the 16-bit matrix that a Gram's gradient multiplies by."""


# ---- Gram matrices --------------------------------------------------------------------------------------


def gram_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """G = scale * F F^T per image in fp32, from features in any storage."""
    operation = layer.operation
    assert isinstance(operation, GramMatrix)
    x = compiler.map_of(layer.bottoms[0])
    y = Value(layer.top_blobs[0].shape, compiler.memory(layer.tops[0]), False)
    products(compiler, x, y.place, _scale(operation, x))
    compiler.values[layer.tops[0]] = y
    compiler.gated[layer.index] = x


def products(compiler: Compiler, x: Value, y: Place, scale: float) -> None:
    """y = scale * F F^T per image, symmetric to the last bit."""
    images, channels, pixels = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    alpha = scale * 2.0 ** (-2 * x.exponent)
    storage, device, tf32 = compiler.precision.storage, compiler.device, compiler.precision.tf32

    def bind() -> Launch:
        step = pixels * x.padded
        left = Matrix(x.place.address, storage, x.padded, True, step)
        right = Matrix(x.place.address, storage, x.padded, False, step)
        out = Matrix(y.address, "fp32", channels, False, channels * channels)
        sizes = (channels, channels, pixels)
        options = {"matrices": images, "tf32": tf32}
        return lambda: device.multiply(left, right, out, sizes, alpha=alpha, **options)  # type: ignore[arg-type]

    compiler.tape.add("gram", bind, (x.place, y))
    threads = images * channels * channels
    compiler.kernel("symmetrise", threads, y, images, channels, storage="fp32")


def gram_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    number = layer.tops[0]
    if layer.wants[0] and compiler.has_gradient(number):
        d = compiler.gradient(
            number, Value(layer.top_blobs[0].shape, compiler.memory(number), False)
        )
        operation, x = layer.operation, compiler.gated[layer.index]
        assert isinstance(operation, GramMatrix)
        scale = _scale(operation, x) if operation.scales_gradient else 1.0
        compiler.add_term(layer.bottoms[0], ProductTerm(compiler, x, d, scale))


class ProductTerm(Term):
    """dF = scale * (d + d^T) F, as one product into the gradient's buffer.

    The matrix is stored with a power of two of its own, found on the device in every run, because G - A
    shrinks by orders of magnitude while the picture gets better.
    """

    can_add = True

    def __init__(self, compiler: Compiler, x: Value, d: Value, scale: float) -> None:
        self.compiler, self.x, self.d, self.scale = compiler, x, d, scale

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        compiler, x = self.compiler, self.x
        images, channels, pixels = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
        matrix, alpha = self._matrix(x, self.scale * 2.0 ** (out.exponent - x.exponent))
        storage, device, tf32 = compiler.precision.storage, compiler.device, compiler.precision.tf32
        scalars = compiler.scalars

        def bind() -> Launch:
            step = pixels * x.padded
            left = Matrix(x.place.address, storage, x.padded, False, step)
            right = Matrix(matrix.address, storage, x.padded, False, channels * x.padded)
            target = Matrix(out.place.address, storage, x.padded, False, step)
            beta = scalars.address + 4 * int(adds)
            sizes = (pixels, x.padded, channels)
            options = {"alpha": alpha.address, "beta": beta, "matrices": images, "tf32": tf32}
            return lambda: device.multiply(left, right, target, sizes, on_device=True, **options)  # type: ignore[arg-type]

        compiler.tape.add("gram gradient", bind, (x.place, matrix, alpha, out.place))
        return False

    def _matrix(self, x: Value, factor: float) -> tuple[Place, Place]:
        """p * (d + d^T) in the maps' storage, p a power of two, and factor / p as a float on the device."""
        compiler, count, channels = self.compiler, self.d.count, x.shape[1]
        factors, alpha = compiler.tape.buffer(16), compiler.tape.buffer(4)
        matrix = compiler.tape.buffer(x.shape[0] * channels * x.padded * 4)
        compiler.zero(Part(factors, 8))
        compiler.kernel("gram_gradient_scale", min(count, 1 << 18), self.d.place, factors, count)
        threads = x.shape[0] * channels * x.padded
        sizes = (x.shape[0], channels, x.padded, GRAM_TARGET)
        compiler.kernel("gram_gradient", threads, self.d.place, matrix, factors, *sizes)
        compiler.zero(alpha)
        compiler.kernel("axpy", 1, Part(factors, 4), alpha, 1, factor, 0, storage="fp32")
        return matrix, alpha


def _scale(operation: GramMatrix, x: Value) -> float:
    divisor = x.shape[2] * x.shape[3] if operation.per_pixel else 1
    return float(operation.scale) / (divisor * (x.shape[1] if operation.per_channel else 1))


# ---- squared distances ----------------------------------------------------------------------------------


def distance_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """L = 1 / 2N * sum (a - b)^2, of two maps or of two planar blobs."""
    assert isinstance(layer.operation, Distance)
    a, b = _operands(compiler, layer)
    storage = compiler.precision.storage if a.is_map else "fp32"
    partials, blocks = compiler.partials(a.groups)
    scales = (2.0**-a.exponent, b.place, 2.0**-b.exponent)
    operands = (a.place, *scales, partials, a.groups)
    compiler.kernel("squared_distance", blocks * 256, *operands, storage=storage)
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


def _images(layer: ProgramLayer) -> int:
    shape = layer.bottom_blobs[0].shape
    return max(1, shape[0]) if shape else 1


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
