"""Means of features and of their products, and what Gram matrices share with them."""

from __future__ import annotations

from nst.backend.cuda.cublas import Matrix
from nst.backend.cuda.device import Device, Launch
from nst.backend.cuda.program.compiler import Compiler
from nst.backend.cuda.program.places import Buffer, Part, Pinned, Place, part
from nst.backend.cuda.program.values import Gate, Term, Value
from nst.backend.programs import MeanMoments, ProgramLayer

PRODUCT_TARGET = 2.0**11
"""Largest value of the 16-bit matrix that the gradient of products multiplies by."""

_CHUNKS = 4096
"""Most ranges of places whose sums are made one by one, each by one thread per group."""
_PLACES = 64
"""Least places of such a range."""


# ---- products of all pairs of channels, for Gram matrices too --------------------------------------------


def multiply_features(compiler: Compiler, x: Value, out: Place, pitch: int, scale: float) -> None:
    """out = scale * F F^T per image, (C, C) in fp32 with rows `pitch` apart, of real features."""
    images, channels, pixels = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    alpha = scale * 2.0 ** (-2 * x.exponent)
    precision = compiler.precision

    def bind(device: Device) -> Launch:
        storage, step = precision.storage, pixels * x.padded
        left = Matrix(x.place.address, storage, x.padded, True, step)
        right = Matrix(x.place.address, storage, x.padded, False, step)
        target = Matrix(out.address, "fp32", pitch, False, channels * pitch)
        sizes, tf32 = (channels, channels, pixels), precision.tf32
        return lambda: device.multiply(
            left, right, target, sizes, alpha=alpha, matrices=images, tf32=tf32
        )

    compiler.tape.add("F F^T", bind, (x.place, out))


class Product(Term):
    """dF = scale * (d + d^T) F, as one product into the gradient's buffer; d (N, C, C) in fp32.

    The matrix is stored with a power of two of its own, found on the device in every run, because gradients
    of style losses shrink by orders of magnitude while the picture gets better.
    """

    can_add = True

    def __init__(self, compiler: Compiler, x: Value, d: Place, scale: float) -> None:
        self.compiler, self.x, self.d, self.scale = compiler, x, d, scale

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        x, precision = self.x, self.compiler.precision
        images, channels, pixels = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
        matrix, alpha = self._matrix(self.scale * 2.0 ** (out.exponent - x.exponent))
        scalars = self.compiler.scalars

        def bind(device: Device) -> Launch:
            storage, step = precision.storage, pixels * x.padded
            left = Matrix(x.place.address, storage, x.padded, False, step)
            right = Matrix(matrix.address, storage, x.padded, False, channels * x.padded)
            target = Matrix(out.place.address, storage, x.padded, False, step)
            factors = {"alpha": alpha.address, "beta": scalars.address + 4 * int(adds)}
            sizes, tf32 = (pixels, x.padded, channels), precision.tf32
            return lambda: device.multiply(
                left, right, target, sizes, matrices=images, tf32=tf32, on_device=True, **factors
            )

        self.compiler.tape.add("(d + d^T) F", bind, (x.place, matrix, alpha, out.place))
        return False

    def _matrix(self, factor: float) -> tuple[Place, Place]:
        """p * (d + d^T) in the maps' storage, p a power of two, and factor / p as a float on the device."""
        compiler, x = self.compiler, self.x
        images, channels = x.shape[0], x.shape[1]
        count = images * channels * channels
        factors, alpha = compiler.tape.buffer(16), compiler.tape.buffer(4)
        matrix = compiler.tape.buffer(images * channels * x.padded * 4)
        compiler.zero(Part(factors, 8))
        compiler.kernel("gram_gradient_scale", min(count, 1 << 18), self.d, factors, count)
        sizes = (images, channels, x.padded, PRODUCT_TARGET)
        threads = images * channels * x.padded
        compiler.kernel("gram_gradient", threads, self.d, matrix, factors, *sizes)
        compiler.zero(alpha)
        compiler.kernel("axpy", 1, Part(factors, 4), alpha, 1, factor, 0, storage="fp32")
        return matrix, alpha


# ---- Moments --------------------------------------------------------------------------------------------


def forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """y (N, C, 1 + C) or (N, C, 1): means in column 0, means of products after it."""
    rule = layer.operation
    assert isinstance(rule, MeanMoments)
    x = compiler.map_of(layer.bottoms[0])
    y = Value(layer.top_blobs[0].shape, compiler.memory(layer.tops[0]), False)
    pixels, width = x.shape[2] * x.shape[3], y.shape[-1]
    channel_means(compiler, x, y.place, width, rule.mean_scale * 2.0**-x.exponent / pixels)
    if rule.full:
        multiply_features(compiler, x, part(y.place, 4), width, 1.0 / pixels)
    compiler.values[layer.tops[0]] = y
    compiler.gated[layer.index] = x


def channel_means(
    compiler: Compiler,
    x: Value,
    means: Place,
    width: int,
    scale: float,
    weights: Pinned | None = None,
) -> None:
    """scale * sum_k x[:, k], or of weights[k] * x[:, k], per image and channel, `width` floats apart."""
    pixels, channels = x.shape[2] * x.shape[3], x.shape[1]
    chunks = max(1, min(_CHUNKS, pixels // _PLACES))
    for image in range(x.shape[0]):
        features, found = _of_image(x, image, compiler), part(means, 4 * image * channels * width)
        partials = compiler.tape.buffer(8 * chunks * x.padded)
        operands = (features, weights or 0, partials, pixels, x.padded, chunks)
        compiler.kernel("channel_sums", chunks * x.padded // 8, *operands)
        ends = (x.padded, chunks, width, scale, 0)
        compiler.kernel("finish_channel_sums", 256 * channels, partials, found, *ends)


def products_of(compiler: Compiler, dy: Value) -> Buffer:
    """The gradient of the products alone: dy (N, C, 1 + C) without its column 0."""
    rows, channels, width = dy.shape[0] * dy.shape[1], dy.shape[1], dy.shape[2]
    d = compiler.tape.buffer(4 * rows * channels)
    sizes = (width, 1, d, channels, 0, channels, rows, 1.0, 0)
    compiler.kernel("copy_channels", rows * channels, dy.place, *sizes, storage="fp32")
    return d


def backward(compiler: Compiler, layer: ProgramLayer) -> None:
    number = layer.tops[0]
    if layer.wants[0] and compiler.has_gradient(number):
        shape = layer.top_blobs[0].shape
        dy = compiler.gradient(number, Value(shape, compiler.memory(number), False))
        compiler.add_term(layer.bottoms[0], _MomentsTerm(compiler, layer, dy))


class _MomentsTerm(Term):
    """dF = ((D + D^T) F + mean_scale * dy[:, 0]) / K."""

    can_add = True

    def __init__(self, compiler: Compiler, layer: ProgramLayer, dy: Value) -> None:
        self.compiler, self.layer, self.dy = compiler, layer, dy

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        compiler, rule = self.compiler, self.layer.operation
        assert isinstance(rule, MeanMoments)
        x = compiler.gated[self.layer.index]
        pixels, channels, width = x.shape[2] * x.shape[3], x.shape[1], self.dy.shape[-1]
        if rule.full:
            d = products_of(compiler, self.dy)
            Product(compiler, x, d, 1.0 / pixels).emit(out, adds, None)
        keeps = 1.0 if rule.full or adds else 0.0
        factor = rule.mean_scale / pixels * 2.0**out.exponent
        for image in range(x.shape[0]):
            target = _of_image(out, image, compiler)
            shift = part(self.dy.place, 4 * image * channels * width)
            layout = (width, pixels, channels, x.padded, keeps, factor)
            threads = pixels * x.padded // 8
            compiler.kernel("add_channels", threads, target, shift, *layout)
        return False


def _of_image(x: Value, image: int, compiler: Compiler) -> Place:
    """Where the map of one image begins."""
    if image == 0:
        return x.place
    return part(x.place, image * x.groups // x.shape[0] * 8 * compiler.item_bytes)
