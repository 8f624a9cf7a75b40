"""Resizing pictures: antialiased, in float, and the arithmetic of target sizes.

Pillow's resampling works on single-channel float pictures (mode F), widens its filter when it
shrinks (so fine texture is averaged, not aliased) and rounds nothing. Two decisions:

* Values are filtered as they are stored (gamma-encoded sRGB), because the nets were trained on
  pictures resized that way. `linear_light=True` filters light instead, which keeps the brightness
  of fine high-contrast texture.
* Lanczos overshoots at edges. The result is held within `limits`, 0 to 255, as every picture is;
  pass None for arrays that are not pictures yet, such as an unfinished iterate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from nst.errors import ShapeError, UsageError, did_you_mean

FloatArray = npt.NDArray[np.float32]

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}


def resize(
    picture: npt.NDArray[Any],
    size: tuple[int, int],
    *,
    method: str = "lanczos",
    limits: tuple[float, float] | None = (0.0, 255.0),
    linear_light: bool = False,
) -> FloatArray:
    """Resizes (H, W) or (H, W, C) to `size` = (height, width); returns a new float32 array.

    A picture that has the size already comes back unchanged. `linear_light` takes the values for
    sRGB, 0 to 255.
    """
    if picture.ndim not in (2, 3):
        raise ShapeError(f"picture: not (height, width[, channels]) (got shape {picture.shape})")
    if min(size) < 1 or min(picture.shape) < 1:
        raise ShapeError(f"picture: cannot resize {picture.shape} to {size}; a side has no pixels")
    if method not in FILTERS:
        expected = ", ".join(FILTERS)
        hint = did_you_mean(method, FILTERS)
        raise UsageError(f"method: unknown (got {method!r}, expected one of {expected}).{hint}")
    values = picture.astype(np.float32)
    if picture.shape[:2] == size:
        return values
    if linear_light:
        values = _light_from_srgb(values)
    resized = _resize_planes(values, size, FILTERS[method])
    if linear_light:
        resized = _srgb_from_light(resized)
    return resized if limits is None else np.clip(resized, *limits)


def fit_longest_side(
    shape: tuple[int, int], size: int, *, enlarge: bool = False
) -> tuple[int, int]:
    """Returns the (height, width) whose longer side is `size`, with the aspect of `shape` kept.

    The shorter side is rounded to the nearest pixel (halves up) and never vanishes. A picture that
    is small enough keeps its size, unless `enlarge`.
    """
    height, width = shape
    longest = max(height, width)
    if min(height, width) < 1:
        raise ShapeError(f"picture: a side has no pixels (got shape {shape})")
    if size < 1:
        raise UsageError(f"size: must be at least 1 pixel (got {size!r})")
    if longest == size or (longest < size and not enlarge):
        return height, width
    # floor(a / b + 1/2) in whole numbers, so that no float rounding decides.
    return (
        max(1, (2 * height * size + longest) // (2 * longest)),
        max(1, (2 * width * size + longest) // (2 * longest)),
    )


def _resize_planes(
    values: FloatArray, size: tuple[int, int], resampling: Image.Resampling
) -> FloatArray:
    if values.ndim == 3:
        planes = [_resize_planes(plane, size, resampling) for plane in np.moveaxis(values, 2, 0)]
        return np.stack(planes, axis=2)
    plane = Image.fromarray(np.ascontiguousarray(values))
    return np.asarray(plane.resize(size[::-1], resampling), np.float32)


def _light_from_srgb(values: FloatArray) -> FloatArray:
    """sRGB's transfer curve, IEC 61966-2-1: 0 to 255 in, 0 to 1 out."""
    encoded = np.clip(values / 255, 0, 1)
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def _srgb_from_light(light: FloatArray) -> FloatArray:
    """The inverse of `_light_from_srgb`."""
    light = np.clip(light, 0, 1)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (encoded * 255).astype(np.float32)
