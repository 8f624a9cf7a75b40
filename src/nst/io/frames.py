"""Frames in: a folder or pattern of pictures, or one animated GIF, WebP, APNG or TIFF.

Files are taken in the order of their names with numbers counted as numbers: frame2 before frame10. All
frames have one size. What is transparent is composited over white, as everywhere.
"""

from __future__ import annotations

import glob
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from PIL import ExifTags

from nst.errors import FileError, ImageError
from nst.io.files import read_bytes
from nst.io.images import Picture, as_array, one_line_errors, open_picture, read_picture

PICTURE_SUFFIXES = frozenset(
    (*(".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm"), ".avif")
)


class Frames(Protocol):
    """A sequence of pictures of one size."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of every frame."""
        ...

    @property
    def durations_ms(self) -> tuple[float, ...] | None:
        """How long each is shown; None where the source does not tell."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Picture:
        """The frame, counted from 0; raises ImageError."""
        ...


def open_frames(source: str | Path) -> Frames:
    """The frames of a folder, of a pattern, or of an animated picture; at least two.

    Raises FileError if there are none, ImageError if one is no picture or has another size.
    """
    path = Path(source)
    if path.is_file():
        return AnimatedFrames(path)
    files = _files(path, str(source))
    if len(files) < 2:
        raise FileError(
            f"no frames there (got {len(files)} pictures, expected a folder or pattern of two or more, "
            "or an animated picture). A video file has to be taken apart first, as in "
            "`ffmpeg -i in.mp4 frames/%05d.png`",
            path=str(source),
        )
    return FileFrames.open(files)


def _files(path: Path, pattern: str) -> list[Path]:
    found = path.iterdir() if path.is_dir() else map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207
    pictures = [p for p in found if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file()]
    return sorted(pictures, key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Key that puts frame2 before frame10."""
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts]


@dataclass(frozen=True)
class FileFrames:
    """One picture file per frame."""

    files: tuple[Path, ...]
    shape: tuple[int, int]
    durations_ms: tuple[float, ...] | None = None

    @classmethod
    def open(cls, files: Sequence[Path]) -> FileFrames:
        """Looks at the size of every file, without decoding any."""
        first = _upright_shape(files[0])
        for path in files[1:]:
            if (shape := _upright_shape(path)) != first:
                raise ImageError(
                    f"another size than the first frame (got {shape[1]}x{shape[0]}, expected "
                    f"{first[1]}x{first[0]})",
                    path=str(path),
                )
        return cls(tuple(files), first)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> Picture:
        return read_picture(self.files[index])


def _upright_shape(path: Path) -> tuple[int, int]:
    """(height, width) as the picture is shown; of its pixels none is decoded."""
    with one_line_errors(path), path.open("rb") as file:
        image = open_picture(file, [])
        width, height = image.size
        lies_on_its_side = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    return (width, height) if lies_on_its_side else (height, width)


class AnimatedFrames:
    """The frames of one file, decoded in turn; going on to the next one is cheap, going back is not."""

    def __init__(self, path: Path) -> None:
        """Reads how long each frame is shown; raises ImageError if there is only one."""
        self.path = path
        data = read_bytes(path)
        self._sha256 = hashlib.sha256(data).hexdigest()
        with one_line_errors(path):
            self._image = image = open_picture(io.BytesIO(data), [])
            count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            # An APNG may begin with a still for viewers that know no APNG.
            self._first = int(getattr(image, "default_image", False))
            if count - self._first < 2:
                raise ImageError("one picture and no animation (expected two frames or more)")
            self.shape = (image.height, image.width)
            self.durations_ms: tuple[float, ...] | None = tuple(
                self._duration(index) for index in range(self._first, count)
            )

    def __len__(self) -> int:
        return len(self.durations_ms or ())

    def read(self, index: int) -> Picture:
        with one_line_errors(self.path):
            self._image.seek(self._first + index)
            picture = Picture.from_array(as_array(self._image))
        name = Path(f"{self.path.name} frame {index + 1}")
        return replace(picture, alpha=None, path=name, sha256=self._sha256)

    def _duration(self, index: int) -> float:
        self._image.seek(index)
        self._image.load()  # WebP tells it only then
        if self._image.size != self.shape[::-1]:
            raise ImageError(f"frame {index + 1} has another size than the first")
        return float(self._image.info.get("duration", 0))
