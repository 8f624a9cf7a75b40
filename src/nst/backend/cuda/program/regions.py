"""Maps weighed by masks: Mask itself, and Gram matrices and moments of a region.

A statistic of a region is that of the features times the roots of the mask (layers/guide.py). The weighed
features are made for the statistic and made again for its gradient: kept, they would take as much memory as
the features do, for every region.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nst.backend.cuda.device import Device
from nst.backend.cuda.program.compiler import Compiler, Unsupported
from nst.backend.cuda.program.features import map_like
from nst.backend.cuda.program.moments import Product, channel_means, multiply_features, products_of
from nst.backend.cuda.program.places import Pinned, Place, part
from nst.backend.cuda.program.values import Gate, Term, Value
from nst.backend.programs import MaskedGram, MaskedMoments, ProgramLayer, Weigh
from nst.errors import NetError

# ---- Mask -----------------------------------------------------------------------------------------------


def mask_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """y = x * m. The mask is an input and receives no gradient."""
    assert isinstance(layer.operation, Weigh)
    if layer.wants[1]:
        raise Unsupported
    weights = _weights(compiler, layer, "mask")
    x = compiler.map_of(layer.bottoms[0])
    y = compiler.new_map(x.shape, x.exponent)
    _weigh(compiler, x, weights, y)
    compiler.values[layer.tops[0]] = y


def mask_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    number = layer.tops[0]
    if layer.wants[0] and compiler.has_gradient(number):
        dy = compiler.gradient(number, map_like(layer.top_blobs[0].shape))
        weights = _weights(compiler, layer, "mask")
        compiler.add_term(layer.bottoms[0], _Weighed(compiler, dy, weights))


class _Weighed(Term):
    """weight * (gradient + shift of the channel * weight), by place."""

    can_add = True

    def __init__(
        self,
        compiler: Compiler,
        dy: Value,
        weights: Pinned,
        shift: tuple[Place, int, float] | None = None,
    ) -> None:
        """shift: where the channels' values are, how many floats apart, and their factor."""
        self.compiler, self.dy, self.weights, self.shift = compiler, dy, weights, shift

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        _weigh(self.compiler, self.dy, self.weights, out, adds, self.shift)
        return False


# ---- moments and Gram matrices ----------------------------------------------------------------------------


def moments_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    """y (1, C, 1 + C) or (1, C, 1), as without a mask, of the region."""
    rule = layer.operation
    assert isinstance(rule, MaskedMoments)
    roots = _weights(compiler, layer, "share")
    x = compiler.map_of(layer.bottoms[0])
    y = Value(layer.top_blobs[0].shape, compiler.memory(layer.tops[0]), False)
    weighed = _features(compiler, layer, x, roots)
    compiler.observe(_key(layer), weighed)
    scale = rule.mean_scale * 2.0**-weighed.exponent
    channel_means(compiler, weighed, y.place, y.shape[-1], scale, roots)
    if rule.full:
        multiply_features(compiler, weighed, part(y.place, 4), y.shape[-1], 1.0)
    compiler.values[layer.tops[0]] = y
    compiler.gated[layer.index] = x


def moments_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    rule, number = layer.operation, layer.tops[0]
    assert isinstance(rule, MaskedMoments)
    if layer.wants[0] and compiler.has_gradient(number):
        dy = compiler.gradient(
            number, Value(layer.top_blobs[0].shape, compiler.memory(number), False)
        )
        d = products_of(compiler, dy) if rule.full else None
        shift = (dy.place, dy.shape[-1], rule.mean_scale)
        compiler.add_term(layer.bottoms[0], _RegionTerm(compiler, layer, "share", d, 1.0, shift))


def gram_forward(compiler: Compiler, layer: ProgramLayer) -> None:
    rule = layer.operation
    assert isinstance(rule, MaskedGram)
    roots = _weights(compiler, layer, rule.weights)
    x = compiler.map_of(layer.bottoms[0])
    y = Value(layer.top_blobs[0].shape, compiler.memory(layer.tops[0]), False)
    weighed = _features(compiler, layer, x, roots)
    compiler.observe(_key(layer), weighed)
    multiply_features(compiler, weighed, y.place, x.shape[1], rule.scale)
    compiler.kernel("symmetrise", y.count, y.place, 1, x.shape[1], storage="fp32")
    compiler.values[layer.tops[0]] = y
    compiler.gated[layer.index] = x


def gram_backward(compiler: Compiler, layer: ProgramLayer) -> None:
    rule, number = layer.operation, layer.tops[0]
    assert isinstance(rule, MaskedGram)
    if layer.wants[0] and compiler.has_gradient(number):
        shape = layer.top_blobs[0].shape
        d = compiler.gradient(number, Value(shape, compiler.memory(number), False)).place
        term = _RegionTerm(compiler, layer, rule.weights, d, rule.back, None)
        compiler.add_term(layer.bottoms[0], term)


class _RegionTerm(Term):
    """dF = r (scale (D + D^T) r F + r shift), with the roots r of the mask."""

    can_add = True

    def __init__(
        self,
        compiler: Compiler,
        layer: ProgramLayer,
        weights: str,
        d: Place | None,
        scale: float,
        shift: tuple[Place, int, float] | None,
    ) -> None:
        self.compiler, self.layer, self.weights = compiler, layer, weights
        self.d, self.scale, self.shift = d, scale, shift

    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        compiler, layer = self.compiler, self.layer
        roots = _weights(compiler, layer, self.weights)
        x = compiler.gated[layer.index]
        weighed = _features(compiler, layer, x, roots)
        # of the weighed features' gradient, which is larger than that of the features as they are smaller
        gradient = compiler.new_map(out.shape, out.exponent - weighed.exponent + x.exponent)
        if self.d is None:
            compiler.combine(weighed, 0.0, None, 0.0, gradient)
        else:
            Product(compiler, weighed, self.d, self.scale).emit(gradient, False, None)
        _weigh(compiler, gradient, roots, out, adds, self.shift)
        return False


def _features(compiler: Compiler, layer: ProgramLayer, x: Value, roots: Pinned) -> Value:
    weighed = compiler.new_map(x.shape, compiler.exponents.get(_key(layer), 0))
    _weigh(compiler, x, roots, weighed)
    return weighed


def _key(layer: ProgramLayer) -> str:
    """Under which a calibrating run notes how large the weighed features are."""
    return f"w{layer.index}"


# ---- weights of places ------------------------------------------------------------------------------------


def _weigh(
    compiler: Compiler,
    x: Value,
    weights: Pinned,
    out: Value,
    adds: bool = False,
    shift: tuple[Place, int, float] | None = None,
) -> None:
    channels, stride, factor = shift or (0, 0, 0.0)
    alpha = 2.0 ** (out.exponent - x.exponent)
    sizes = (out.positions, out.shape[1], out.padded, alpha, factor * 2.0**out.exponent, int(adds))
    operands = (x.place, weights, channels, stride, out.place)
    compiler.kernel("weigh_places", out.groups, *operands, *sizes)


def _weights(compiler: Compiler, layer: ProgramLayer, kind: str) -> Pinned:
    """One float per place of the layer's mask: the "mask", its "root", or the root of its "share" of the sum.

    Found on the host when somebody has written to the mask.
    """
    number = compiler.root(layer.bottoms[1])
    if layer.bottom_blobs[0].shape[0] != 1 or not compiler.is_input(number):
        raise Unsupported
    if (number, kind) not in compiler.weights:
        blob, device = compiler.blobs[number], compiler.device
        array = device.empty((blob.count,), np.float32)

        def measure(device: Device) -> None:
            mask = blob.backend.to_host(blob.data).reshape(-1).astype(np.float64)
            array[...] = device.upload(_of_kind(mask, kind, layer.name).astype(np.float32))

        compiler.refreshes.append((blob, measure))
        compiler.weights[number, kind] = Pinned(array, device.address(array))
    return compiler.weights[number, kind]


def _of_kind(mask: NDArray[np.float64], kind: str, name: str) -> NDArray[np.float64]:
    if kind == "mask":
        return mask
    if not (mask >= 0).all():
        raise NetError(f"layer '{name}': a mask has no values below 0 (got {mask.min()})")
    root: NDArray[np.float64] = np.sqrt(mask / (mask.sum() or 1.0) if kind == "share" else mask)
    return root
