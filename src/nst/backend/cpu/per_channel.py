"""Steps with one number per channel on blocked arrays: moments, affine maps, and their gradients."""

from __future__ import annotations

import ctypes as ct
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nst.backend.cpu.engine import BLOCK, Blocked, Engine, FloatArray, address, blocks
from nst.backend.cpu.library import RELU, Affine, Channels, Spread

DoubleArray = NDArray[np.float64]
Sums = tuple[DoubleArray, DoubleArray]


@dataclass
class ChannelMap:
    """(source - center) * factor + offset, one number per channel, (C,) each in float64.

    sums: of the gradient of its result, and of that gradient times (source - center), if they are known.
    """

    source: Blocked
    center: DoubleArray
    factor: DoubleArray
    offset: DoubleArray
    sums: Sums | None = None

    @classmethod
    def identity(cls, source: Blocked) -> ChannelMap:
        zeros = np.zeros(source.channels)
        return cls(source, zeros, zeros + 1, zeros)

    def scaled(self, factor: FloatArray, bias: FloatArray | None) -> ChannelMap:
        """This map with another one, factor * y + bias, after it."""
        offset = self.offset * factor
        return ChannelMap(
            self.source,
            self.center,
            self.factor * factor,
            offset if bias is None else offset + bias,
        )

    def apply(self, engine: Engine, out: Blocked, *, rectify: bool) -> None:
        """Writes the result to `out`, which may be the source."""
        vectors = [_padded(values) for values in (self.center, self.factor, self.offset)]
        affine = Affine(*(address(vector) for vector in vectors))
        sizes = _sizes(self.source, out=out)
        flags = RELU if rectify else 0
        engine.call(
            "nst_channel_affine",
            *(ct.byref(sizes), self.source.address, ct.byref(affine), out.address, flags),
        )
        engine.settle()


def moments(engine: Engine, x: Blocked) -> tuple[DoubleArray, DoubleArray]:
    """Mean and (biased) variance of every channel over all images and positions."""
    mean, variance = np.empty(x.channels), np.empty(x.channels)
    sizes = _sizes(x)
    engine.call("nst_channel_moments", ct.byref(sizes), x.address, address(mean), address(variance))
    engine.settle()
    return mean, variance


def gradient_sums(
    engine: Engine,
    gradient: Blocked,
    gate: Blocked | None,
    of: ChannelMap,
    *,
    factor: DoubleArray | None = None,
    out: Blocked | None = None,
    sums: bool = True,
) -> Sums:
    """Sums of g and of g * (source - center) per channel, g being the gradient where gate is positive.

    Writes g * factor to `out`, if there is one; it may be the gradient itself. sums=False: returns zeros.
    """
    totals = np.zeros((2, gradient.channels))
    vectors = [
        _padded(of.center) if sums else None,
        None if factor is None else _padded(factor),
    ]
    sizes = _sizes(of.source, gradient=gradient, gate=gate, out=out)
    engine.call(
        "nst_channel_gradient",
        *(ct.byref(sizes), gradient.address, None if gate is None else gate.address),
        *(of.source.address if sums else None, address(vectors[0]), address(vectors[1])),
        *(None if out is None else out.address, address(totals) if sums else None),
    )
    engine.settle()
    return totals[0], totals[1]


def spread(
    engine: Engine,
    gradient: Blocked,
    of: ChannelMap,
    sums: Sums,
    out: Blocked,
) -> None:
    """The gradient of a normalisation `of` = (x - mean) / deviation from the gradient of its result."""
    count = gradient.images * math.prod(gradient.extent)
    slope = np.square(of.factor) * sums[1] / count
    vectors = [_padded(values) for values in (of.center, slope, sums[0] / count, of.factor)]
    structure = Spread(*(address(vector) for vector in vectors))
    sizes = _sizes(of.source, gradient=gradient, out=out)
    engine.call(
        "nst_channel_spread",
        *(ct.byref(sizes), gradient.address, of.source.address),
        *(ct.byref(structure), out.address),
    )
    engine.settle()


def _sizes(
    x: Blocked,
    *,
    gradient: Blocked | None = None,
    gate: Blocked | None = None,
    out: Blocked | None = None,
) -> Channels:
    strides = (0 if array is None else array.image_stride for array in (x, gradient, gate, out))
    return Channels(x.images, x.channels, math.prod(x.extent), *strides)


def _padded(values: DoubleArray) -> FloatArray:
    """float32, with zeros up to a whole block."""
    result = np.zeros(blocks(values.size) * BLOCK, np.float32)
    result[: values.size] = values
    return result
