"""Animations out: GIF, WebP and APNG by Pillow, whole or not at all.

A GIF has 256 colours. All its frames share one palette and none is dithered: palettes and noise of their
own would make still places flicker.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from nst.errors import ImageError, did_you_mean
from nst.io.atomic import write_atomically
from nst.io.colour_profile import srgb_profile

Bytes = npt.NDArray[np.uint8]
ReadFrame = Callable[[int], Bytes]

SUFFIXES = (".gif", ".webp", ".apng")

_COLOURS = 256
_SAMPLES = 24
"""Frames that a GIF's palette is made from."""
_SAMPLE_SIDE = 160


def is_animation(path: str | Path) -> bool:
    """Whether the suffix is one of an animation."""
    return Path(path).suffix.lower() in SUFFIXES


def write_animation(
    path: str | Path,
    read: ReadFrame,
    durations_ms: Sequence[float],
    *,
    quality: int = 90,
) -> None:
    """Writes one frame per duration; `read(i)` gives frame i, uint8 RGB (H, W, 3), and is asked as needed.

    It repeats forever. GIF counts time in hundredths of a second and joins equal neighbours to one longer
    frame. `quality`, 1 to 100, is WebP's; 100 is lossless. Raises ImageError, FileError.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ImageError(
            f"unknown format of animation (got suffix {path.suffix!r}, expected one of "
            f"{', '.join(SUFFIXES)})." + did_you_mean(path.suffix, SUFFIXES),
            path=str(path),
        )
    palette = _shared_palette(read, len(durations_ms)) if suffix == ".gif" else None
    frames = _Frames(read, len(durations_ms), palette)
    times = _whole_milliseconds(durations_ms, 10 if suffix == ".gif" else 1)
    options = _options(suffix, quality)
    buffer = io.BytesIO()
    try:
        frames.at(0).save(
            buffer, save_all=True, append_images=frames, duration=times, loop=0, **options
        )
    except (OSError, ValueError, SystemError) as error:
        raise ImageError(f"cannot be encoded ({error})", path=str(path)) from error
    write_atomically(path, buffer.getvalue())


def _options(suffix: str, quality: int) -> dict[str, Any]:
    if suffix == ".gif":
        return {"format": "GIF", "optimize": False, "disposal": 1}
    if suffix == ".apng":
        return {"format": "PNG", "icc_profile": srgb_profile()}
    lossless = quality == 100
    return {
        "format": "WEBP",
        "quality": quality,
        "lossless": lossless,
        "icc_profile": srgb_profile(),
    }


class _Frames:
    """All frames but the first, made anew whenever Pillow goes through them: it may do so twice."""

    def __init__(self, read: ReadFrame, count: int, palette: Image.Image | None) -> None:
        self._read, self._count, self._palette = read, count, palette

    def __iter__(self) -> Iterator[Image.Image]:
        return (self.at(index) for index in range(1, self._count))

    def at(self, index: int) -> Image.Image:
        frame = Image.fromarray(self._read(index))
        if self._palette is None:
            return frame
        return frame.quantize(palette=self._palette, dither=Image.Dither.NONE)


def _shared_palette(read: ReadFrame, count: int) -> Image.Image:
    """The 256 colours that suit some frames of the whole sequence best."""
    picked = sorted({round(i * (count - 1) / max(1, _SAMPLES - 1)) for i in range(_SAMPLES)})
    strips = []
    for index in picked:
        sample = Image.fromarray(read(index))
        sample.thumbnail((_SAMPLE_SIDE, _SAMPLE_SIDE))
        strips.append(np.asarray(sample).reshape(-1, 3))
    colours = np.concatenate(strips)[np.newaxis]
    return Image.fromarray(colours).quantize(_COLOURS, method=Image.Quantize.MEDIANCUT)


def _whole_milliseconds(durations_ms: Sequence[float], unit: int) -> list[int]:
    """Durations in whole units, rounded so that the error does not add up over the sequence."""
    ends = np.rint(np.cumsum(durations_ms) / unit).astype(int) * unit
    return [int(time) for time in np.diff(ends, prepend=0)]
