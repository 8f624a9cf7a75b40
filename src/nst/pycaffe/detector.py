"""caffe.Detector: a classifier over windows of pictures, as R-CNN runs it (Girshick et al. 2014)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nst.core import TEST
from nst.errors import UsageError
from nst.pycaffe.classifier import input_transformer
from nst.pycaffe.io import load_image
from nst.pycaffe.net import Net, NetSource
from nst.pycaffe.resize import resize_image

Array = NDArray[Any]
Window = Sequence[float]
"""(top, left, bottom, right) in pixels of the picture."""


class Detector(Net):
    """A deploy net that is shown windows of pictures, each stretched to its input.

    Args:
        model_file, pretrained_file: the net and its weights.
        mean, input_scale, raw_scale, channel_swap: as in `Transformer`; pictures are transposed to (C, H, W).
        context_pad: pixels of surroundings on each side, in the net's input; None for none.
        options: further ones of `Net`, such as backend.
    """

    def __init__(
        self,
        model_file: NetSource,
        pretrained_file: str | PathLike[str],
        mean: Array | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model_file, phase=TEST, weights=pretrained_file, **options)
        self.transformer = input_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.context_pad = context_pad
        self._pad = context_pad or 0
        self._size = tuple(int(side) for side in self.blobs[self.inputs[0]].shape[2:])
        if context_pad is not None and not 0 <= 2 * context_pad < min(self._size):
            raise UsageError(
                f"context_pad: got {context_pad}, expected less than half of the input {self._size}"
            )

    def detect_windows(
        self, images_windows: Iterable[tuple[str | PathLike[str], Iterable[Window]]]
    ) -> list[dict[str, Any]]:
        """Returns one record per window: `window`, `prediction` (the net's output), `filename`."""
        name = self.inputs[0]
        found: list[dict[str, Any]] = []
        batch: list[Array] = []
        for filename, windows in images_windows:
            picture = load_image(filename)
            for window in windows:
                batch.append(self.transformer.preprocess(name, self.crop(picture, window)))
                found.append({"window": window, "filename": filename})
        if not batch:
            return []
        outputs = self.forward_all(**{name: np.stack(batch)})[self.outputs[0]]
        return [
            {**record, "prediction": output} for record, output in zip(found, outputs, strict=True)
        ]

    def crop(self, im: Array, window: Window) -> Array:
        """Cuts a window out of (H, W, C), with its surroundings if `context_pad` asks for them.

        What lies outside the picture is filled with the transformer's mean, so that the net sees zeros there.
        Raises UsageError for a window without pixels.
        """
        top, left, bottom, right = (int(side) for side in window)
        inside = im[max(top, 0) : bottom, max(left, 0) : right]
        if min(inside.shape) < 1:
            raise UsageError(f"window: got {tuple(window)}, expected pixels of {im.shape[:2]}")
        return inside if self.context_pad is None else self._with_context(im, window)

    def _with_context(self, im: Array, window: Window) -> Array:
        """The window and `context_pad` around it, scaled to the input's size."""
        rows, columns = (
            _span(window[axis], window[axis + 2], im.shape[axis], self._size[axis], self._pad)
            for axis in (0, 1)
        )
        out = self._outside()
        cut = im[rows.begin : rows.end, columns.begin : columns.end]
        below, right_of = rows.offset + rows.length, columns.offset + columns.length
        out[rows.offset : below, columns.offset : right_of] = resize_image(
            cut, (rows.length, columns.length)
        )
        return out

    def _outside(self) -> Array:
        """A picture whose preprocessed form is zero: the mean, taken back to the picture's form."""
        name = self.inputs[0]
        shape = self.blobs[name].shape[1:]
        if name not in self.transformer.mean:
            return np.zeros((*shape[1:], shape[0]), np.float32)
        return self.transformer.deprocess(name, np.zeros(shape, np.float32))


class _Span(NamedTuple):
    """One axis of a padded window: begin .. end in the picture become `length` pixels from `offset` on."""

    begin: int
    end: int
    offset: int
    length: int


def _span(low: float, high: float, extent: int, size: int, pad: int) -> _Span:
    """The window low .. high made larger by size / (size - 2 pad) about its middle, and fitted into `size`.

    What of it lies in the picture, 0 .. extent, is copied. The extra pixel per length is R-CNN's, whose
    windows include their ends.
    """
    half = (high - low + 1) / 2
    middle, reach = low + half, half * size / (size - 2 * pad)
    first, last = round(middle - reach), round(middle + reach)
    zoom = size / (last - first + 1)
    begin, end = max(first, 0), min(last, extent)
    offset = min(round((begin - first) * zoom), size - 1)
    length = max(1, min(round((end - begin + 1) * zoom), size - offset))
    return _Span(begin, end, offset, length)
