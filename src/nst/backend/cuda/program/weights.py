"""Weights and biases as the maps want them, on the device, and again when somebody has written to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend.cuda.device import Device
from nst.backend.cuda.program.compiler import Compiler
from nst.backend.cuda.program.places import Pinned
from nst.backend.cuda.program.values import Value
from nst.backend.cuda.storage import DTYPES, stored
from nst.backend.operations import BlobLike, Convolve
from nst.backend.programs import ProgramLayer


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
            arrange = partial(self._arrange, exponent)
            compiler.filters[key] = _place(compiler, self.weights, self.shape, arrange)
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
    return _place(compiler, layer.params[1], (y.padded,), arrange, kind)


def _place(
    compiler: Compiler,
    blob: BlobLike,
    shape: tuple[int, ...],
    arrange: Callable[[NDArray[Any]], NDArray[Any]],
    storage: str | None = None,
) -> Pinned:
    """An array for a parameter's values, arranged and stored; filled before the first run, and again when
    somebody has written to the parameter."""
    kind, device = storage or compiler.precision.storage, compiler.device
    array = device.empty(shape, DTYPES[kind])
    place = Pinned(array, device.address(array))

    def refresh(device: Device) -> None:
        host = arrange(blob.backend.to_host(blob.data))
        array[...] = device.upload(stored(host, kind))

    compiler.refreshes.append((blob, refresh))
    return place
