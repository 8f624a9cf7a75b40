"""From any Pillow mode to float RGB and alpha.

| mode of the file              | becomes                                                     |
|-------------------------------|-------------------------------------------------------------|
| 1, L, RGB                     | as it is                                                    |
| P, PA, RGBa, YCbCr, LAB, ...  | RGB by Pillow's conversion; transparency becomes alpha      |
| LA, RGBA, tRNS                | colour and alpha                                            |
| CMYK                          | sRGB through its profile, else by the plain formula         |
| I;16, I                       | 16-bit grey, 65535 is white; the low bits are kept, as      |
|                               | fractions of a level                                        |
| F                             | grey; 1.0 is white, or 255 if a value exceeds 1             |

Pillow hands 16-bit RGB over with the upper 8 bits of each value; the picture's notes then say so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from nst.errors import ImageError
from nst.io.colour_profile import to_srgb

FloatArray = npt.NDArray[np.float32]

_GREY_MODES = ("1", "L", "LA")
_DEEP_GREY_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def keeps_all_bits(image: Image.Image) -> bool:
    """False for a picture, not loaded yet, whose 16-bit channels Pillow will cut to 8."""
    decoders = " ".join(str(tile[3]) for tile in getattr(image, "tile", ()))
    return ";16" not in decoders or image.mode in _DEEP_GREY_MODES


def to_rgb_and_alpha(image: Image.Image, notes: list[str]) -> tuple[FloatArray, FloatArray | None]:
    """Returns colour (H, W, 3) and alpha (H, W) or None, both 0 to 255; adds to `notes`.

    Alpha that hides nothing anywhere is None. Raises ImageError for values that mean no colour.
    """
    if image.mode == "F" or image.mode in _DEEP_GREY_MODES:
        rgb, alpha = _from_deep_grey(image, notes)
    else:
        base, mask = _split_alpha(image)
        rgb = _floats(to_srgb(base, image.info.get("icc_profile"), notes))
        alpha = None if mask is None else _floats(mask)
    return rgb, None if alpha is None or alpha.min() == 255 else alpha


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Returns colour in a mode that profiles know (L, RGB or CMYK), and alpha in mode L."""
    grey = image.mode in _GREY_MODES
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        red, green, blue, alpha = rgba.split()
        return (red if grey else Image.merge("RGB", (red, green, blue))), alpha
    if grey:
        return image.convert("L"), None
    return (image if image.mode in ("RGB", "CMYK") else image.convert("RGB")), None


def _from_deep_grey(image: Image.Image, notes: list[str]) -> tuple[FloatArray, FloatArray | None]:
    values = np.asarray(image)
    grey = _from_float(values, notes) if image.mode == "F" else _from_16_bits(values)
    # Profiles work on bytes. The curve, sampled at the 256 levels, is followed between them.
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])
    curve = _floats(to_srgb(ramp, image.info.get("icc_profile"), notes))[0]
    levels = np.arange(256, dtype=np.float32)
    planes = [np.interp(grey, levels, curve[:, channel]) for channel in range(3)]
    transparent = image.info.get("transparency")
    alpha = None if transparent is None else _floats(values != transparent) * 255
    return _floats(np.stack(planes, axis=2)), alpha


def _from_16_bits(values: npt.NDArray[Any]) -> FloatArray:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(
            f"32-bit grey has no agreed white (got values {low} to {high}, expected 0 to 65535). "
            "Save it with 8 or 16 bits"
        )
    levels: FloatArray = values.astype(np.float32) / np.float32(257)
    return levels


def _from_float(values: npt.NDArray[Any], notes: list[str]) -> FloatArray:
    if not np.isfinite(values).all():
        raise ImageError("float grey has values that are not finite (NaN or Inf)")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255:
        raise ImageError(
            f"float grey is out of range (got values {low:g} to {high:g}, expected 0 to 1)"
        )
    white = 1 if high <= 1 else 255
    notes.append(f"float grey: {white} is taken for white")
    levels: FloatArray = values.astype(np.float32) * np.float32(255 / white)
    return levels


def _floats(values: Image.Image | npt.NDArray[Any]) -> FloatArray:
    return np.asarray(values, np.float32)
