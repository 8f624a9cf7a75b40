"""DataTransformer: what `transform_param` does to a picture on its way into the net.

    mirror (at random) -> crop (TRAIN: at random, TEST: centre) -> minus mean -> times scale

Random numbers are Caffe's: a stream of its own, per picture first the mirror, then row and column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.core import TRAIN, RandomSource, Shape
from nst.errors import NetError, ShapeError
from nst.layers.sources.blob_file import read_blob_file
from nst.layers.sources.randomness import new_stream
from nst.proto import TransformationParameter

Values = NDArray[Any]


class DataTransformer:
    """Caffe's DataTransformer, for arrays (C, H, W)."""

    def __init__(
        self, param: TransformationParameter, phase: int, rng: RandomSource, *, layer: str
    ) -> None:
        self.layer = layer
        self.scale: float = param.scale
        self.crop_size: int = param.crop_size
        self.mirrors: bool = param.mirror
        self.crops_at_random = phase == TRAIN and self.crop_size > 0
        self.mean = self._read_mean(param)
        if param.force_color and param.force_gray:
            raise NetError("cannot set both force_color and force_gray", layer=layer)
        self.start(rng)

    def start(self, rng: RandomSource) -> None:
        """Seeds the stream, if one is needed; Caffe does it at construction and again after set-up."""
        if self.mirrors or self.crops_at_random:
            self._stream = new_stream(rng)

    def out_shape(self, shape: Shape) -> Shape:
        """Shape after the transformation; raises ShapeError if the picture does not fit."""
        channels, height, width = shape
        if self.crop_size > min(height, width):
            raise ShapeError(
                f"crop_size is larger than the picture (got {self.crop_size} for {shape})",
                layer=self.layer,
            )
        self._fit_mean(shape)
        side = self.crop_size
        return (channels, side, side) if side else (channels, height, width)

    def transform(self, picture: Values) -> Values:
        """Returns float32 values of `out_shape`."""
        shape = self.out_shape(picture.shape)
        mirrored = self.mirrors and self._below(2) == 1
        window = self._window(picture.shape)
        values = picture[window].astype(np.float32)
        mean = self._fit_mean(picture.shape)
        if mean is not None:
            values -= mean[window] if mean.shape == picture.shape else mean
        values *= np.float32(self.scale)
        return np.asarray(values[:, :, ::-1] if mirrored else values).reshape(shape)

    def stack(self, pictures: list[Values]) -> Values:
        """A batch; raises ShapeError if the pictures differ in size."""
        shapes = {picture.shape for picture in pictures}
        if len(shapes) > 1:
            raise ShapeError(
                f"pictures of one batch must have one size (got {sorted(shapes)}). Use crop_size, "
                "new_height and new_width, or batch_size: 1",
                layer=self.layer,
            )
        return np.stack(pictures)

    def _window(self, shape: Shape) -> tuple[slice, ...]:
        """The part that the crop keeps."""
        _, height, width = shape
        side = self.crop_size
        if not side:
            return (slice(None), slice(None), slice(None))
        if self.crops_at_random:
            top, left = self._below(height - side + 1), self._below(width - side + 1)
        else:
            top, left = (height - side) // 2, (width - side) // 2
        return (slice(None), slice(top, top + side), slice(left, left + side))

    def _below(self, limit: int) -> int:
        return int(self._stream.words(1)[0]) % limit

    def _read_mean(self, param: TransformationParameter) -> Values | None:
        """The mean picture (C, H, W), or values (C or 1, 1, 1), or None."""
        if param.mean_file and param.mean_value:
            raise NetError(
                "Cannot specify mean_file and mean_value at the same time", layer=self.layer
            )
        if param.mean_value:
            return np.asarray(list(param.mean_value), np.float32).reshape(-1, 1, 1)
        if not param.HasField("mean_file"):
            return None
        mean = read_blob_file(param.mean_file).astype(np.float32)
        return mean.reshape(mean.shape[-3:])

    def _fit_mean(self, shape: Shape) -> Values | None:
        """The mean; raises ShapeError unless it suits pictures of this shape."""
        if self.mean is None:
            return None
        if self.mean.shape[1:] == (1, 1) and len(self.mean) in (1, shape[0]):
            return self.mean
        if self.mean.shape == shape:
            return self.mean
        raise ShapeError(
            f"Specify either 1 mean_value or as many as channels: {shape[0]}, or a mean_file of the "
            f"picture's shape (got mean {self.mean.shape} for a picture {shape})",
            layer=self.layer,
        )
