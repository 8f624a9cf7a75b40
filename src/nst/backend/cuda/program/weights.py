"""Weights and biases as the maps want them, on the device, and again when somebody has written to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend.cuda.program.compiler import Compiler
from nst.backend.cuda.program.places import Pinned
from nst.backend.cuda.program.values import Value
from nst.backend.operations import BlobLike, Convolve, ProgramLayer


class Filters:
    """Weights as the maps want them: (K, R, S, C) with channels padded, times a power of two."""

    def __init__(
        self, compiler: Compiler, weights: BlobLike, x: Value, y: Value, operation: Convolve
    ) -> None:
        self.compiler, self.weights = compiler, weights
        group = operation.geometry.group
        self.shape = (y.padded, *operation.geometry.kernel, x.padded // group)

    def scaled(self, exponent: int) -> Pinned:
        """The weights times 2^exponent, on the device; the same for forward and backward if the power is."""
        compiler = self.compiler
        key = (id(self.weights), exponent)
        if key not in compiler.filters:
            place = _upload(compiler, self.weights, partial(self._arrange, exponent))
            compiler.filters[key] = place
        return compiler.filters[key]

    def _arrange(self, exponent: int, host: NDArray[Any]) -> NDArray[Any]:
        result = np.zeros(self.shape, np.float32)
        ordered = host.transpose(0, 2, 3, 1)
        result[: ordered.shape[0], ..., : ordered.shape[3]] = ordered
        return np.ldexp(result, exponent)


def bias_of(compiler: Compiler, layer: ProgramLayer, y: Value, storage: str) -> Pinned:
    """The bias times y's power of two; zeros where the layer has none."""
    kind = compiler.precision.storage if storage == "stored" else storage

    def arrange(host: NDArray[Any]) -> NDArray[Any]:
        result = np.zeros(y.padded, np.float32)
        result[: host.size] = host
        return np.ldexp(result, y.exponent)

    if len(layer.params) < 2:
        return compiler.pinned(stored(np.zeros(y.padded, np.float32), kind))
    return _upload(compiler, layer.params[1], arrange, kind)


def _upload(
    compiler: Compiler,
    blob: BlobLike,
    arrange: Callable[[NDArray[Any]], NDArray[Any]],
    storage: str | None = None,
) -> Pinned:
    """A parameter's values, arranged and stored; done again when somebody has written to them."""
    kind = storage or compiler.precision.storage

    def values() -> NDArray[Any]:
        return stored(arrange(blob.backend.to_host(blob.data)), kind)

    place = compiler.pinned(values())

    def refresh() -> None:
        place.array[...] = compiler.device.upload(values())

    compiler.refreshes.append((blob, refresh))
    return place


def stored(values: NDArray[Any], storage: str) -> NDArray[Any]:
    """fp32 values rounded to a storage; bf16 as the bits of its numbers."""
    if storage == "fp32":
        return np.ascontiguousarray(values, np.float32)
    if storage == "fp16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
