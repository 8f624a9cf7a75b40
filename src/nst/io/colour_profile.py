"""Colour profiles: from whatever a file says its numbers mean to sRGB.

Without a profile, grey and RGB numbers are taken for sRGB, and CMYK is converted by Pillow's plain
formula. A profile that is damaged or made for another kind of picture is passed over, as every
viewer does; the note says so.
"""

from __future__ import annotations

import functools
import io
from typing import Any

from PIL import Image, ImageCms

# cmsFLAGS_BLACKPOINTCOMPENSATION of LittleCMS: a plain number before Pillow 10.3.
_BLACK_POINT_COMPENSATION: Any = getattr(ImageCms, "Flags", int)(0x2000)

_MODE_OF_SPACE = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}


@functools.cache
def srgb_profile() -> bytes:
    """The sRGB profile that our pictures carry; the same bytes on every day and machine."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Bytes 24 to 35 of the header are the date of creation (ICC.1, 7.2.8): year, month, day, time.
    date = b"".join(part.to_bytes(2, "big") for part in (2000, 1, 1, 0, 0, 0))
    return profile[:24] + date + profile[36:]


def to_srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """Converts a picture of mode L, RGB or CMYK to sRGB, mode RGB; adds to `notes` what was done.

    Relative colorimetric with black point compensation: colours that sRGB has keep their look.
    """
    if not profile and image.mode == "CMYK":
        notes.append("CMYK without a colour profile: converted by the plain formula")
    if not profile or profile == srgb_profile():
        return image.convert("RGB")
    try:
        converted = _convert(image, profile)
    except (ImageCms.PyCMSError, OSError, ImportError) as error:
        notes.append(f"colour profile not used: {error}")
        return image.convert("RGB")
    notes.append("converted from its colour profile to sRGB")
    return converted


def _convert(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    if space == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    if _MODE_OF_SPACE.get(space) != image.mode:
        raise ImageCms.PyCMSError(f"it is for {space}, the picture is {image.mode}")
    converted = ImageCms.profileToProfile(
        image,
        source,
        ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile())),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=_BLACK_POINT_COMPENSATION,
    )
    assert converted is not None  # only conversion in place returns nothing
    return converted
