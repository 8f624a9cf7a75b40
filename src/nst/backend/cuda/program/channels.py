"""BatchNorm by stored statistics, and Scale: a factor and a shift per channel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nst.backend.cuda.device import Device
from nst.backend.cuda.program.compiler import Compiler, Unsupported
from nst.backend.cuda.program.features import map_like
from nst.backend.cuda.program.places import Pinned
from nst.backend.cuda.program.values import Gate, Term, Value
from nst.backend.operations import BatchNormalise, BlobLike
from nst.backend.programs import ProgramLayer

Vector = NDArray[np.float64]


def forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """y = a x + b."""
    rule = layer.operation
    if isinstance(rule, BatchNormalise) and not rule.uses_stored:
        raise Unsupported
    x = compiler.map_of(layer.bottoms[0])
    y = compiler.new_map(x.shape, compiler.exponents.get(f"a{layer.tops[0]}", x.exponent))
    factors = _pinned(compiler, layer, y, lambda: _affine(layer)[0])
    shifts = _pinned(compiler, layer, y, lambda: np.ldexp(_affine(layer)[1], y.exponent))
    sizes = (y.positions, y.padded, 2.0 ** (y.exponent - x.exponent), 0)
    compiler.kernel("affine_channels", y.groups, x.place, factors, shifts, y.place, *sizes)
    compiler.observe(f"a{layer.tops[0]}", y)
    compiler.values[layer.tops[0]] = y
    compiler.factors[layer.index] = factors


def backward(compiler: Compiler, layer: ProgramLayer) -> None:
    number = layer.tops[0]
    if not compiler.has_gradient(number):
        return
    if not layer.wants[0]:
        compiler.terms.pop(number)
        return
    dy = compiler.gradient(number, map_like(layer.top_blobs[0].shape))
    factors = compiler.factors[layer.index]
    compiler.add_term(layer.bottoms[0], _Scaled(compiler, dy, factors))


class _Scaled(Term):
    """dx = a dy."""

    can_add = True

    def __init__(self, compiler: Compiler, dy: Value, factors: Pinned) -> None:
        self.compiler, self.dy, self.factors = compiler, dy, factors

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        sizes = (out.positions, out.padded, 2.0 ** (out.exponent - self.dy.exponent), int(adds))
        operands = (self.dy.place, self.factors, 0, out.place)
        self.compiler.kernel("affine_channels", out.groups, *operands, *sizes)
        return False


def _affine(layer: ProgramLayer) -> tuple[Vector, Vector]:
    """a and b of a layer, (C,) each."""
    first, *others = (_values(blob) for blob in layer.params)
    if isinstance(layer.operation, BatchNormalise):  # sums of means and of variances, and how many
        variance, count = others[0], float(others[1][0])
        share = 1.0 / count if count else 0.0
        factors = 1.0 / np.sqrt(variance * share + layer.operation.eps)
        return factors, -first * share * factors
    return first, others[0] if others else np.zeros_like(first)


def _values(blob: BlobLike) -> Vector:
    values: Vector = blob.backend.to_host(blob.data).astype(np.float64).reshape(-1)
    return values


def _pinned(
    compiler: Compiler, layer: ProgramLayer, y: Value, measure: Callable[[], Vector]
) -> Pinned:
    """One float per channel in memory, 0 beyond them; again when somebody has written to a parameter."""
    device = compiler.device
    array = device.empty((y.padded,), np.float32)

    def refresh(device: Device) -> None:
        host = np.zeros(y.padded, np.float32)
        found = measure()
        host[: found.size] = found
        array[...] = device.upload(host)

    compiler.refreshes += [(blob, refresh) for blob in layer.params]
    return Pinned(array, device.address(array))
