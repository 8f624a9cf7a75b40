"""CudaProgram: a net compiled for one set of shapes.

In fp16 the net is first compiled in a storage of fp32's range and run once to see how large its values are;
the program that stays has powers of two accordingly, and is made anew when a value has left fp16's range.
It is made anew, too, when the roots of a Wasserstein distance were not found: then its layer takes them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend.cuda.device import Array, Device, Precision
from nst.backend.cuda.program.compiler import NO_ALARMS, Alarms
from nst.backend.cuda.program.run import Run
from nst.backend.cuda.program.scaling import exponents
from nst.backend.operations import BlobLike, Fork, MemoryLike
from nst.backend.programs import ProgramLayer, WassersteinDistance

log = logging.getLogger("nst.cuda")


class CudaProgram:
    """See nst.backend.programs.Program."""

    def __init__(
        self, device: Device, precision: Precision, layers: Sequence[ProgramLayer]
    ) -> None:
        self.device, self.precision, self.layers = device, precision, layers
        self._tops = [blob for layer in layers for blob in layer.top_blobs]
        self._shapes = self._shapes_now()
        self._joined: list[tuple[BlobLike, tuple[MemoryLike, MemoryLike]]] = []
        """What `_join` left, in which memories."""
        self._losses = [
            blob
            for layer in layers
            for blob, is_loss in zip(layer.top_blobs, layer.is_loss, strict=True)
            if is_loss
        ]
        self._roots = [
            layer.index for layer in layers if isinstance(layer.operation, WassersteinDistance)
        ]
        """Layers that count what is left of their roots."""
        count = 2 * len(self._losses) + len(self._roots) + 1
        self._told = device.upload(np.zeros(count, np.float32))
        """Losses, their weights, and the counts of Alarms: what is read after every run."""
        self._lend_told()
        self._declined: frozenset[int] = frozenset()
        """Layers that run by their own code, because ours did not do."""
        self._is_to_go = False
        """Whether the next run is to be compiled anew; until then blobs show what this one has left."""
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
            told = self._checked(self.device.download(self._told))
            count = len(self._losses)
            values = told[:count].astype(np.float64) * told[count : 2 * count]
            names = [blob.name for blob in self._losses]
            self._terms = dict(zip(names, values.tolist(), strict=True))
        return dict(self._terms)

    def _checked(self, told: NDArray[Any]) -> NDArray[Any]:
        """What is read after a run, or after another one if that one's numbers are of no use."""
        told = self._in_range(told)
        counts = _counts(told[2 * len(self._losses) : -1])
        lost = {index for index, count in zip(self._roots, counts, strict=True) if count}
        return self._in_range(self._with_roots_by_layers(lost)) if lost else told

    def _in_range(self, told: NDArray[Any]) -> NDArray[Any]:
        """The same in fp16, after another calibration if need be; what is then not finite is not finite."""
        is_lost = any(_counts(told[-1:])) or not self._are_finite(told)
        if not is_lost or not self._went_back or self.precision.storage != "fp16":
            return told
        log.info("a value has left the range of fp16: scaling anew")
        return self._run_anew()

    def _with_roots_by_layers(self, lost: set[int]) -> NDArray[Any]:
        """Another run with these distances by their layers, as all from now on.

        If these cannot take them either, the picture is to blame, and nothing is changed.
        """
        before, self._declined = self._declined, self._declined | lost
        self._told[2 * len(self._losses) : -1] = 0
        told = self._run_anew()
        if self._are_finite(told):
            names = ", ".join(layer.name for layer in self.layers if layer.index in lost)
            log.info("the root of a covariance was not found: taken by the layer (%s)", names)
        else:
            self._declined, self._is_to_go = before, True
        return told

    def _are_finite(self, told: NDArray[Any]) -> bool:
        """Whether the losses are. A ReLU's gate may hide from the gradient what is not."""
        return bool(np.isfinite(told[: len(self._losses)]).all())

    def _run_anew(self) -> NDArray[Any]:
        self.run = None
        run = self._ready()
        if self._went_back:
            run.forward_backward()
        else:
            run.forward()
        return self.device.download(self._told)

    def _ready(self) -> Run:
        self._terms = None
        if not self._joined or any(_memories(blob) != found for blob, found in self._joined):
            self._join()
        if self._is_to_go:
            self.run, self._is_to_go = None, False
        if self.run is None:
            self.run = self._compiled()
        return self.run

    def _join(self) -> None:
        """Makes blobs one memory that are to be; it may have been exchanged since."""
        joining = [ly for ly in self.layers if ly.source or isinstance(ly.operation, Fork)]
        for layer in joining:
            layer.forward()
        blobs = {blob for ly in joining for blob in (*ly.bottom_blobs, *ly.top_blobs, *ly.params)}
        self._joined = [(blob, _memories(blob)) for blob in blobs]

    def _compiled(self) -> Run:
        first = self.device.address(self._told) + 8 * len(self._losses)
        unsettled = {index: first + 4 * i for i, index in enumerate(self._roots)}
        if self.precision.storage != "fp16":
            return self._run_of(self.precision, {}, Alarms(unsettled=unsettled))
        # bf16 takes as little memory as fp16 and has the range of fp32; Turing has none.
        wide = Precision.named("bf16" if self.device.has_bf16 else "fp32")
        look = self._run_of(wide, {}, NO_ALARMS, calibrating=True)
        look.forward_backward()
        found = exponents(look.largest())
        del look  # its memory goes before the other's comes
        alarms = Alarms(first + 4 * len(self._roots), unsettled)
        return self._run_of(self.precision, found, alarms)

    def _run_of(
        self,
        precision: Precision,
        found: Mapping[str, int],
        alarms: Alarms,
        *,
        calibrating: bool = False,
    ) -> Run:
        options: dict[str, Any] = {"calibrating": calibrating, "declined": self._declined}
        return Run(self.device, precision, self.layers, found, alarms=alarms, **options)

    def _lend_told(self) -> None:
        """Makes the loss blobs use the memory that is read after every run."""
        for side, first in (("data", 0), ("diff", len(self._losses))):
            for i, blob in enumerate(self._losses):
                memory: MemoryLike = getattr(blob, f"{side}_memory")
                place = self._told[first + i : first + i + 1]
                place[...] = _raw(blob, memory)
                memory.flat = place

    def _shapes_now(self) -> list[tuple[int, ...]]:
        return [blob.shape for blob in self._tops]


def _memories(blob: BlobLike) -> tuple[MemoryLike, MemoryLike]:
    return blob.data_memory, blob.diff_memory


def _counts(told: NDArray[Any]) -> list[int]:
    """The counts, which are unsigned integers among floats."""
    return [int(count) for count in told.view(np.uint32)]


def _raw(blob: BlobLike, memory: MemoryLike) -> Array:
    return memory.raw(blob.shape, blob.backend, blob.dtype).reshape(1)
