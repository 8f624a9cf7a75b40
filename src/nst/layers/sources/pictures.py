"""Picture files as Caffe's data layers see them: (C, H, W), B G R or grey, 0-255, resized as OpenCV does."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nst.errors import ImageError

Values = NDArray[Any]
_GREY_MODES = ("1", "L", "LA", "I", "F", "I;16")


def read_picture(path: Path, *, is_color: bool | None, size: tuple[int, int] = (0, 0)) -> Values:
    """Reads a file; `size` (rows, columns) resizes, (0, 0) does not. Raises ImageError."""
    return resize(decode_picture(read_bytes(path), is_color=is_color, path=str(path)), size)


def read_bytes(path: Path) -> bytes:
    """The file's bytes; raises ImageError in Caffe's words."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"Could not load {path} ({error.strerror})", path=str(path)) from error


def decode_picture(content: bytes, *, is_color: bool | None, path: str) -> Values:
    """Decodes an image file's bytes to uint8 (C, H, W); `is_color` None keeps grey pictures grey."""
    try:
        with Image.open(io.BytesIO(content)) as opened:
            picture = ImageOps.exif_transpose(opened)
            if is_color is None:
                is_color = picture.mode not in _GREY_MODES
            pixels = np.asarray(picture.convert("RGB" if is_color else "L"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"Could not load {path} ({error})", path=path) from error
    if pixels.ndim == 2:
        return pixels[None]
    return np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1))  # RGB, HWC to BGR, CHW


def resize(picture: Values, size: tuple[int, int]) -> Values:
    """Bilinear with half-pixel centres and no smoothing when shrinking: OpenCV's INTER_LINEAR."""
    if size in ((0, 0), picture.shape[1:]):
        return picture
    values = picture.astype(np.float64)
    for axis, length in ((1, size[0]), (2, size[1])):
        values = _interpolate(values, axis, length)
    return np.asarray(np.floor(values + 0.5), picture.dtype)


def _interpolate(values: Values, axis: int, length: int) -> Values:
    extent = values.shape[axis]
    position = np.clip((np.arange(length) + 0.5) * extent / length - 0.5, 0, extent - 1)
    low = np.floor(position).astype(np.intp)
    high = np.minimum(low + 1, extent - 1)
    weight = (position - low).reshape(-1, *(1,) * (values.ndim - 1 - axis))
    return np.asarray(
        values.take(low, axis) * (1 - weight) + values.take(high, axis) * weight, np.float64
    )
