"""The squared Wasserstein distance of normal distributions by products and kernels that may be recorded.

The layer takes an eigendecomposition, for which the host waits. Here the root and its inverse come by steps
of matrix products, in double precision, whose number is fixed beforehand by the ridge that keeps eigenvalues
from zero. Moments that rounding has robbed of that bound do not settle: a counter tells, and the layer's own
code takes over.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nst.backend.covariance_root import CovarianceRoot
from nst.backend.cuda.cublas import Matrix
from nst.backend.cuda.device import Device, Launch
from nst.backend.cuda.program.compiler import Compiler, Unsupported
from nst.backend.cuda.program.inverse_roots import Step, inverse_root_steps
from nst.backend.cuda.program.places import Buffer, Part, Pinned, Place, part
from nst.backend.cuda.program.values import Gate, Roots, Term, Value
from nst.backend.programs import ProgramLayer, WassersteinDistance

_ROOM = 4.0
"""How many times larger than the target's, in standard deviations, the picture's features may be before the
steps are too few for eigenvalues as small as the ridge lets them be."""


def forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """L, of one image and a target that is an input."""
    rule = layer.operation
    assert isinstance(rule, WassersteinDistance)
    number = compiler.root(layer.bottoms[1])
    y = compiler.value(layer.bottoms[0])
    if y.shape[0] != 1 or y.is_map or rule.epsilon <= 0 or not compiler.is_input(number):
        raise Unsupported
    c = y.shape[1]
    target = _target_of(compiler, number, rule, c)
    covariance, square = compiler.tape.buffer(8 * c * c), compiler.tape.buffer(8)
    compiler.kernel("w2_covariance", c * c, y.place, target, covariance, c, storage="fp32")
    alarm = compiler.alarms.unsettled.get(layer.index, 0)
    if alarm:
        compiler.zero(Pinned(None, alarm))
    steps = inverse_root_steps(min(0.1, rule.epsilon / (_ROOM * c)))
    sizes = (c, steps, alarm)
    root, inverse = _roots(compiler, _target_root(target, c), covariance, square, *sizes)
    loss = Value((), compiler.memory(layer.tops[0]), False)
    operands = (y.place, target, covariance, root, square, loss.place)
    compiler.kernel("w2_loss", 256, *operands, c, storage="fp32")
    compiler.values[layer.tops[0]] = loss
    compiler.roots[layer.index] = Roots(target, y, square, inverse)


def backward(compiler: Compiler, layer: ProgramLayer) -> None:
    if layer.wants[0]:
        compiler.add_term(layer.bottoms[0], _WassersteinTerm(compiler, layer))


class _WassersteinTerm(Term):
    is_map = False
    can_add = True

    def __init__(self, compiler: Compiler, layer: ProgramLayer) -> None:
        self.compiler, self.weight = compiler, compiler.memory(layer.tops[0], "diff")
        self.roots = compiler.roots[layer.index]

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        compiler, roots = self.compiler, self.roots
        c = out.shape[1]
        half, whole = compiler.tape.buffer(8 * c * c), compiler.tape.buffer(8 * c * c)
        target_root = _target_root(roots.target, c)
        _multiply(compiler, target_root, roots.inverse, half, c)
        _multiply(compiler, half, target_root, whole, c)
        operands = (roots.moments.place, roots.target, whole, roots.square, self.weight, out.place)
        compiler.kernel("w2_gradient", c * (1 + c), *operands, c, int(adds), storage="fp32")
        return False


def _roots(
    compiler: Compiler,
    target_root: Place,
    covariance: Place,
    square: Buffer,
    c: int,
    steps: Sequence[Step],
    alarm: int,
) -> tuple[Place, Place]:
    """The root of M = R S R over |M|, and its inverse; |M|^2 into `square`."""
    m = _product(compiler, _product(compiler, target_root, covariance, c), target_root, c)
    partials, blocks = compiler.partials(c * c)
    compiler.kernel("dot", blocks * 256, m, m, partials, c * c, storage="fp64")
    compiler.kernel("finish_sum_double", 256, partials, square, blocks, storage="fp32")
    now = _Matrices(compiler, c)
    normalised = (m, square, now.y, now.z)
    compiler.kernel("w2_normalise", c * c, *normalised, c, storage="fp32")
    for i, step in enumerate(steps):
        x = _product(compiler, now.z, now.y, c) if i else now.y
        _multiply(compiler, x, x, now.p, c)
        counter = alarm if i == len(steps) - 1 else 0
        compiler.kernel("w2_polynomial", c * c, x, now.p, counter, c, *step, storage="fp32")
        now = now.advanced(compiler)
    return now.y, now.z


class _Matrices:
    """Y, P and Z of one step, one after the other, so that Y P and P Z are products of one stack each."""

    def __init__(self, compiler: Compiler, c: int) -> None:
        self.c = c
        whole = compiler.tape.buffer(3 * 8 * c * c)
        self.y, self.p, self.z = (part(whole, i * 8 * c * c) for i in range(3))

    def advanced(self, compiler: Compiler) -> _Matrices:
        """Y P and P Z as Y and Z of the next step, by one launch."""
        c, after = self.c, _Matrices(compiler, self.c)

        def bind(device: Device) -> Launch:
            left, right = (Matrix(p.address, "fp64", c, stride=c * c) for p in (self.y, self.p))
            target = Matrix(after.y.address, "fp64", c, stride=2 * c * c)
            return lambda: device.multiply(left, right, target, (c, c, c), matrices=2)

        compiler.tape.add("product of roots", bind, (self.y, after.y))
        return after


def _target_root(target: Pinned, c: int) -> Part:
    return part(target, 8 * (c + 3))


def _product(compiler: Compiler, a: Place, b: Place, c: int) -> Buffer:
    result = compiler.tape.buffer(8 * c * c)
    _multiply(compiler, a, b, result, c)
    return result


def _multiply(compiler: Compiler, a: Place, b: Place, out: Place, c: int) -> None:
    """out = a b, (C, C) in double."""

    def bind(device: Device) -> Launch:
        left, right, target = (Matrix(place.address, "fp64", c) for place in (a, b, out))
        return lambda: device.multiply(left, right, target, (c, c, c))

    compiler.tape.add("product of roots", bind, (a, b, out))


def _target_of(compiler: Compiler, number: int, rule: WassersteinDistance, c: int) -> Pinned:
    """Roots.target, found on the host when somebody has written to the input."""
    blob, device = compiler.blobs[number], compiler.device
    array = device.empty((c + 3 + c * c,), np.float64)

    def measure(device: Device) -> None:
        found = CovarianceRoot(np, blob.backend.to_host(blob.data)[0], rule.epsilon)
        size = found.mean_square if rule.relative and found.mean_square > 0 else 1.0
        numbers = [found.trace, found.share, 1.0 / size]
        array[...] = device.upload(np.concatenate([found.mean, numbers, found.root.ravel()]))

    compiler.refreshes.append((blob, measure))
    return Pinned(array, device.address(array))
