"""First and second moments of maps, what preset `fine` compares."""

from __future__ import annotations

from nst.backend.cuda.program.compiler import Compiler, Unsupported
from nst.backend.cuda.program.losses import ProductTerm, products
from nst.backend.cuda.program.values import Gate, Term, Value
from nst.backend.operations import MomentMatrix, ProgramLayer

MOST_CHUNKS = 256
"""Shares of the places that are added up side by side."""


def forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """y (1, C, 1 + C): the means times mean_scale, then F F^T / K."""
    rule = layer.operation
    assert isinstance(rule, MomentMatrix)
    x = compiler.map_of(layer.bottoms[0])
    if x.shape[0] != 1:
        raise Unsupported
    channels, kernel = x.shape[1], compiler.kernel
    y = Value(layer.top_blobs[0].shape, compiler.memory(layer.tops[0]), False)
    square = compiler.tape.buffer(4 * channels * channels)
    products(compiler, x, square, 1.0 / x.positions)
    copied = (y.place, 1 + channels, 1, channels, channels, 1.0, 0)
    kernel("copy_channels", channels**2, square, channels, 0, *copied, storage="fp32")
    chunks = min(MOST_CHUNKS, x.positions)
    sums = compiler.tape.buffer(8 * chunks * x.padded)
    threads = chunks * x.padded // 8
    kernel("channel_sums", threads, x.place, sums, x.positions, x.padded, chunks)
    share = rule.mean_scale / x.positions * 2.0**-x.exponent
    sizes = (channels, x.padded, chunks, 1 + channels, share, 0)
    kernel("finish_channel_sums", channels, sums, y.place, *sizes, storage="fp32")
    compiler.values[layer.tops[0]] = y
    compiler.gated[layer.index] = x


def backward(compiler: Compiler, layer: ProgramLayer) -> None:
    number, shape = layer.tops[0], layer.top_blobs[0].shape
    if not layer.wants[0] or not compiler.has_gradient(number):
        return
    x, rule = compiler.gated[layer.index], layer.operation
    assert isinstance(rule, MomentMatrix)
    dy = compiler.gradient(number, Value(shape, compiler.memory(number), False))
    channels = x.shape[1]
    d = Value((1, channels, channels), compiler.tape.buffer(4 * channels**2), False)
    copied = (d.place, channels, 0, channels, channels, 1.0, 0)
    source = (dy.place, 1 + channels, 1)
    compiler.kernel("copy_channels", d.count, *source, *copied, storage="fp32")
    compiler.add_term(layer.bottoms[0], ProductTerm(compiler, x, d, 1.0 / x.positions))
    share = rule.mean_scale / x.positions
    compiler.add_term(layer.bottoms[0], _MeanTerm(compiler, dy, share))


class _MeanTerm(Term):
    """The gradient of a channel's mean: the same at all places."""

    can_add = True

    def __init__(self, compiler: Compiler, dy: Value, share: float) -> None:
        self.compiler, self.dy, self.share = compiler, dy, share

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        channels = out.shape[1]
        sizes = (1 + channels, out.positions, channels, out.padded)
        factors = (1.0 if adds else 0.0, self.share * 2.0**out.exponent)
        operands = (out.place, self.dy.place)
        self.compiler.kernel("add_channels", out.groups, *operands, *sizes, *factors)
        return False
