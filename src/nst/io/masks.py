"""Masks as pictures: grey ones, white inside, and label maps, where a colour or a number names a region."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor

from nst.errors import ImageError, UsageError
from nst.io.images import Picture, read_picture
from nst.io.resample import resize

MaskArray = npt.NDArray[np.float32]
"""(H, W), 0 outside to 1 inside."""

STEP = 1 / 255
"""What counts as a difference: one step of an 8-bit picture."""
BLACK = (0.0, 0.0, 0.0)
GREY_TOLERANCE = 12
"""Channels of a grey picture may differ by so much: JPEG and colour profiles leave a tint."""
SPECK = 0.02
"""Greys as near as that to black and white are these: JPEG makes them, and nobody sees them."""
NEAR = 48
"""Colours of a label map nearer than this are one: JPEG spoils them, brushes blend them."""
COMMON = 0.002
"""Share of a label map from which on a colour is a label; rarer ones are blends at borders."""
MOST = 64
"""Labels of one map."""


def read_mask(path: str | Path, region: str = "") -> tuple[MaskArray, Picture]:
    """The mask in a picture file, and the picture.

    Without `region` a grey picture, soft where it is grey and 0 where it is transparent. With it a label
    map: 1 where the map has that colour (`#ff0000`, `red`) or number (a grey level, or the index in a
    palette). Raises ImageError or UsageError, naming the file.
    """
    picture = read_picture(path, background=BLACK)
    mask = _labelled(picture, region) if region else _grey(picture)
    return mask, picture


def labels_in(path: str | Path) -> list[str]:
    """The labels of a map, as `read_mask` takes them: indices of a palette, grey levels, or colours.

    Labels that take less than a five-hundredth of the map are left out.
    """
    picture = read_picture(path, background=BLACK)
    if picture.mode == "P" or np.ptp(picture.rgb, axis=2).max() == 0:
        numbers, counts = np.unique(_numbers(picture), return_counts=True)
        return [str(number) for number in numbers[counts >= COMMON * counts.sum()]]
    return [_name(label) for label in _labels(picture.rgb)[0]]


def mask_from_array(values: npt.NDArray[np.generic]) -> MaskArray:
    """(H, W) of truth values, of floats 0 to 1, or of whole numbers 0 to 255; raises ImageError."""
    array = np.asarray(values)
    if array.ndim != 2 or min(array.shape) < 1 or array.dtype.kind not in "buif":
        raise ImageError(f"array: not a mask (got shape {array.shape}, expected (height, width))")
    top = 255 if array.dtype.kind in "ui" else 1
    mask: MaskArray = array.astype(np.float32) / np.float32(top)
    if not (np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1):
        raise ImageError(f"array: not a mask (got values outside 0 to {top})")
    return mask


def resize_mask(mask: MaskArray, size: tuple[int, int]) -> MaskArray:
    """The mask for a picture of (height, width): means over areas, straight lines between far pixels.

    Black and white stay so to the last bit, whatever resampling rounds.
    """
    shrinks = size[0] <= mask.shape[0]
    resized = resize(mask, size, method="area" if shrinks else "bilinear", limits=(0, 1))
    resized[resized < STEP / 2] = 0
    resized[resized > 1 - STEP / 2] = 1
    return resized


def _grey(picture: Picture) -> MaskArray:
    spread = np.ptp(picture.rgb, axis=2)
    if (spread > GREY_TOLERANCE).mean() > 0.001:
        raise UsageError(
            f"{picture.path}: not a grey mask (got colours, expected white inside and black outside). "
            "For a map of coloured regions name one, with region"
        )
    mask = np.asarray(picture.rgb.mean(axis=2) / 255, np.float32)
    mask[mask < SPECK] = 0
    mask[mask > 1 - SPECK] = 1
    return mask


def _labelled(picture: Picture, region: str) -> MaskArray:
    if region.isascii() and region.isdigit():
        numbers = _numbers(picture)
        mask = numbers == int(region)
        found = ", ".join(map(str, np.unique(numbers)[:12]))
        problem = f"no region {region} (got the numbers {found})"
    else:
        wanted = _colour(region, picture.path)
        labels, nearest = _labels(picture.rgb)
        distances = np.abs(labels - wanted).max(axis=1)
        mask = (nearest == distances.argmin()) & (distances.min() <= NEAR)
        found = ", ".join(_name(label) for label in labels[:12])
        problem = f"no region '{region}' (got the colours {found})"
    if not mask.any():
        raise UsageError(f"{picture.path}: {problem}")
    return np.asarray(mask, np.float32)


def _numbers(picture: Picture) -> npt.NDArray[np.integer]:
    """Indices of a picture with a palette, grey levels of any other."""
    if picture.mode == "P":
        with Image.open(picture.path) as image:
            return np.asarray(image)
    return np.asarray(picture.rgb.mean(axis=2).round(), np.int64)


def _name(label: npt.NDArray[np.float64]) -> str:
    return "#" + "".join(f"{int(channel):02x}" for channel in label)


def _colour(region: str, path: Path) -> npt.NDArray[np.float64]:
    try:
        return np.array(ImageColor.getrgb(region)[:3], np.float64)
    except ValueError as error:
        raise UsageError(
            f"{path}: region: no colour or number (got {region!r}, expected '#ff0000', 'red' or 0 to 255)"
        ) from error


def _labels(rgb: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """The colours of a label map (L, 3), most frequent first, and for each pixel the nearest of them.

    Only pixels that look like their neighbours say what a label is: the others are blends at borders.
    """
    red, green, blue = (rgb[:, :, channel].round().astype(np.int64) for channel in range(3))
    codes, which = np.unique(red * 65536 + green * 256 + blue, return_inverse=True)
    which = which.reshape(red.shape)
    values = np.stack([codes // 65536, codes // 256 % 256, codes % 256], axis=1).astype(np.float64)
    counts = np.bincount(which[_is_flat(rgb)], minlength=len(codes))
    labels: list[npt.NDArray[np.float64]] = []
    for index in np.argsort(-counts, kind="stable"):
        if len(labels) >= MOST or counts[index] < max(1, COMMON * red.size / MOST):
            break
        if any(np.abs(label - values[index]).max() <= NEAR for label in labels):
            continue
        near = np.abs(values - values[index]).max(axis=1) <= NEAR
        if counts[near].sum() >= COMMON * red.size:
            labels.append(values[index])
    found = np.array(labels or [values[which.flat[0]]])
    of_colour = ((values[:, None, :] - found) ** 2).sum(axis=2).argmin(axis=1)
    return found, of_colour[which]


def _is_flat(rgb: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Where a pixel is near in colour to its neighbours above, below, left and right."""
    flat = np.ones(rgb.shape[:2], bool)
    for axis in (0, 1):
        steps = np.abs(np.diff(rgb, axis=axis)).max(axis=2) <= NEAR
        border = [(0, 0), (0, 0)]
        for side in ((1, 0), (0, 1)):
            border[axis] = side
            flat &= np.pad(steps, border, constant_values=True)
    return flat
