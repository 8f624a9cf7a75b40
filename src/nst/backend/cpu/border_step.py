"""Pad on the engine: a border around blocked maps."""

from __future__ import annotations

import ctypes as ct
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nst.backend.cpu.engine import Blocked, address
from nst.backend.cpu.handler import Blobs, Flags, Handler
from nst.backend.cpu.library import Border
from nst.backend.cpu.twins import extent_of, is_feature_map
from nst.backend.operations import BlobLike

MODES: tuple[Literal["edge", "reflect", "constant", "wrap"], ...] = (
    "edge",
    "reflect",
    "constant",
    "wrap",
)
"""numpy.pad's names of PadParameter's modes, by number."""


class BorderHandler(Handler):
    """Pictures stay planar, so the layer's own code pads them."""

    def forward(self, bottom: Blobs, top: Blobs, params: Blobs) -> bool:
        x, y = bottom[0], top[0]
        if not is_feature_map(x) or not self.twins.is_fresh(x.data_memory, x):
            return False
        source, target = self.twins.read(x.data_memory, x), self.twins.target(y.data_memory, y)
        self._run("nst_border_forward", source, target, x)
        self.twins.wrote(y.data_memory, y, target)
        return True

    def backward(
        self, top: Blobs, propagate_down: Flags, bottom: Blobs, params: Blobs, wanted: Flags
    ) -> bool:
        x, y = bottom[0], top[0]
        if not is_feature_map(x) or not self.twins.is_fresh(y.diff_memory, y):
            return False
        if propagate_down[0]:
            gradient = self.gradients.read(y)
            self.gradients.write(
                x, lambda target: self._run("nst_border_backward", gradient, target, x)
            )
        return True

    def _run(self, name: str, source: Blocked, target: Blocked, x: BlobLike) -> None:
        """Either direction; x is the map without its border."""
        inner, outer = (source, target) if name == "nst_border_forward" else (target, source)
        sizes = Border(
            *(inner.images, inner.channels, *inner.extent, *outer.extent),
            *(inner.image_stride, outer.image_stride),
        )
        rows, columns = (
            self._places(size, pad)
            for size, pad in zip(extent_of(x.shape), self.operation.pads, strict=True)
        )
        self.engine.call(
            name,
            *(ct.byref(sizes), source.address, address(rows), address(columns), target.address),
        )
        self.engine.settle()  # the places live no longer

    def _places(self, size: int, pad: int) -> NDArray[Any]:
        """Which place of an axis each place of the padded axis copies; -1 for zeros."""
        mode, axis = MODES[self.operation.mode], np.arange(size, dtype=np.int64)
        if mode == "constant":
            return np.pad(axis, pad, mode=mode, constant_values=-1)
        return np.pad(axis, pad, mode=mode)
