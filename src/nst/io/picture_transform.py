"""The one transform between a picture and a net's data blob, and its exact inverse.

    blob[0, c, y, x] = (picture[y, x, order[c]] - mean[c]) * scale

The transform belongs to the model: the weights of VGG19 were trained on channels in the order B, G,
R, on values 0 to 255 with `mean` subtracted, and are right for nothing else. MyCaffe's transform
leaves the channels unswapped on the way in and swaps them on the way out (mycaffe.md 2.8); ours
swaps on both ways, by the same table.

Nothing is rounded or clipped here. A picture becomes bytes at one place only: `to_uint8`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nst.errors import ImageError, ShapeError, UsageError

FloatArray = npt.NDArray[np.float32]

VGG_MEAN = (103.939, 116.779, 123.68)
"""Mean blue, green, red of ImageNet, 0 to 255, subtracted when VGG16 and VGG19 were trained."""

_CHANNELS = {"BGR": (2, 1, 0), "RGB": (0, 1, 2)}


@dataclass(frozen=True)
class PictureTransform:
    """How a model wants its pictures.

    `mean` has one value per channel, 0 to 255, in the blob's own order: (b, g, r) where
    `color_order` is "BGR". `scale` multiplies what is left after the mean is subtracted.
    """

    mean: tuple[float, float, float] = VGG_MEAN
    color_order: str = "BGR"
    scale: float = 1.0

    def __post_init__(self) -> None:
        mean = tuple(float(value) for value in self.mean)
        if len(mean) != 3 or not all(map(math.isfinite, mean)):
            raise UsageError(f"mean: not one finite number per channel (got {self.mean!r})")
        if self.color_order not in _CHANNELS:
            raise UsageError(
                f"color_order: unknown (got {self.color_order!r}, expected 'BGR' or 'RGB')"
            )
        if not math.isfinite(self.scale) or self.scale == 0:
            raise UsageError(f"scale: not finite and nonzero (got {self.scale!r})")
        object.__setattr__(self, "mean", mean)

    def encode(self, rgb: npt.NDArray[Any]) -> FloatArray:
        """Turns a picture (H, W, 3), 0 to 255, into a contiguous float32 blob (1, 3, H, W)."""
        if rgb.ndim != 3 or rgb.shape[2] != 3:
            raise ShapeError(
                f"picture: not RGB (got shape {rgb.shape}, expected (height, width, 3))"
            )
        planes = rgb.astype(np.float32)[:, :, _CHANNELS[self.color_order]]
        planes = (planes - self._mean) * np.float32(self.scale)
        return np.ascontiguousarray(planes.transpose(2, 0, 1)[np.newaxis])

    def decode(self, blob: npt.NDArray[Any]) -> FloatArray:
        """Turns a blob (1, 3, H, W) into a picture (H, W, 3), float32, not rounded, not clipped."""
        if blob.ndim != 4 or blob.shape[:2] != (1, 3):
            raise ShapeError(
                f"blob: not one picture (got shape {blob.shape}, expected (1, 3, h, w))"
            )
        planes = blob[0].astype(np.float32).transpose(1, 2, 0)
        planes = planes / np.float32(self.scale) + self._mean
        # Both tables are their own inverse, so the same indexing leads back to R, G, B.
        return np.ascontiguousarray(planes[:, :, _CHANNELS[self.color_order]])

    @property
    def _mean(self) -> FloatArray:
        return np.asarray(self.mean, np.float32)


def to_uint8(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Rounds to the nearest byte; what lies outside 0 to 255 is clipped, NaN is an error."""
    if np.isnan(values).any():
        raise ImageError(f"picture: {int(np.isnan(values).sum())} values are not numbers (NaN)")
    rounded: npt.NDArray[np.uint8] = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return rounded
