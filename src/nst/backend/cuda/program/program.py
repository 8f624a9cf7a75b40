"""CudaProgram: a net compiled for one set of shapes.

In fp16 the net is first compiled in a storage of fp32's range and run once to see how large its values are;
the program that stays has powers of two accordingly, and is made anew when a value has left fp16's range.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend.cuda.device import Array, Device, Precision
from nst.backend.cuda.program.run import Run
from nst.backend.cuda.program.scaling import exponents
from nst.backend.operations import BlobLike, Fork, MemoryLike
from nst.backend.programs import ProgramLayer

log = logging.getLogger("nst.cuda")


class CudaProgram:
    """See nst.backend.programs.Program."""

    def __init__(
        self, device: Device, precision: Precision, layers: Sequence[ProgramLayer]
    ) -> None:
        self.device, self.precision, self.layers = device, precision, layers
        self._shapes = self._shapes_now()
        self._losses = [
            blob
            for layer in layers
            for blob, is_loss in zip(layer.top_blobs, layer.is_loss, strict=True)
            if is_loss
        ]
        self._told = device.upload(np.zeros(2 * len(self._losses) + 1, np.float32))
        """Losses, their weights, and how many values were not finite: what is read after every run."""
        self._lend_told()
        self._learns = any(layer.runs_backward for layer in layers)
        self.run: Run | None = None
        self._terms: dict[str, float] | None = None
        self._went_back = False

    def is_current(self) -> bool:
        return self._shapes_now() == self._shapes and (self.run is None or not self.run.has_moved())

    def forward(self) -> None:
        if self.precision.storage == "fp16" and not self._learns:
            self.run = (
                None  # features of another picture: they are looked at once, and scaled for that
            )
        self._ready().forward()
        self._went_back = False

    def forward_backward(self) -> None:
        self._ready().forward_backward()
        self._went_back = True

    def backward(self) -> None:
        if self.run is not None:
            self.run.backward()

    def forget(self) -> None:
        if self.run is not None:
            self.run.forget()

    def loss_terms(self) -> dict[str, float]:
        if self._terms is None:
            told = self.device.download(self._told)
            if told[-1:].view(np.uint32)[0] and self._went_back:
                told = self._scaled_anew()
            count = len(self._losses)
            values = told[:count].astype(np.float64) * told[count : 2 * count]
            names = [blob.name for blob in self._losses]
            self._terms = dict(zip(names, values.tolist(), strict=True))
        return dict(self._terms)

    def _scaled_anew(self) -> NDArray[Any]:
        """Another calibration and another run; what is then not finite is not finite."""
        log.info("a value has left the range of fp16: scaling anew")
        self.run = None
        self._ready().forward_backward()
        return self.device.download(self._told)

    def _ready(self) -> Run:
        self._terms = None
        for layer in self.layers:
            if layer.source or isinstance(layer.operation, Fork):
                layer.forward()  # blobs that are one memory: it may have been exchanged
        if self.run is None:
            self.run = self._compiled()
        return self.run

    def _compiled(self) -> Run:
        if self.precision.storage != "fp16":
            return Run(self.device, self.precision, self.layers, {})
        # bf16 takes as little memory as fp16 and has the range of fp32; Turing has none.
        wide = Precision.named("bf16" if self.device.has_bf16 else "fp32")
        look = Run(self.device, wide, self.layers, {}, calibrating=True)
        look.forward_backward()
        found = exponents(look.largest())
        del look  # its memory goes before the other's comes
        counter = self.device.address(self._told) + 4 * (self._told.size - 1)
        return Run(self.device, self.precision, self.layers, found, counter=counter)

    def _lend_told(self) -> None:
        """Makes the loss blobs use the memory that is read after every run."""
        for side, first in (("data", 0), ("diff", len(self._losses))):
            for i, blob in enumerate(self._losses):
                memory: MemoryLike = getattr(blob, f"{side}_memory")
                place = self._told[first + i : first + i + 1]
                place[...] = _raw(blob, memory)
                memory.flat = place

    def _shapes_now(self) -> list[tuple[int, ...]]:
        return [blob.shape for layer in self.layers for blob in layer.top_blobs]


def _raw(blob: BlobLike, memory: MemoryLike) -> Array:
    return memory.raw(blob.shape, blob.backend, blob.dtype).reshape(1)
