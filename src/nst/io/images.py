"""Pictures in: a file to float RGB, 0 to 255, upright and in sRGB.

A picture is read the way a good viewer shows it: turned as its EXIF says, its colour profile
honoured, its first frame if it moves, transparency composited over a stated background and kept, so
that the result can have it again. What a file cannot give, or gives with a loss, is in `notes`;
what is no picture is an ImageError of one line. Pictures out: `picture_output.py`. Between picture
and net: `picture_transform.py`.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from nst.errors import ImageError
from nst.io.image_modes import keeps_all_bits, to_rgb_and_alpha
from nst.io.signature import looks_like

FloatArray = npt.NDArray[np.float32]

WHITE = (255.0, 255.0, 255.0)

# Named one by one: Pillow's full list has decoders that start other programs (EPS).
_READABLE = (
    *("PNG", "JPEG", "MPO", "TIFF", "WEBP", "GIF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000"),
    *("PSD", "TGA", "QOI"),
)


@dataclass(frozen=True)
class Picture:
    """A picture as it was read.

    `rgb` is float32 (H, W, 3), sRGB, 0 to 255, composited over the background; `alpha` is float32
    (H, W), 0 to 255, or None where nothing is transparent. `sha256` is of the file. `mode`
    (Pillow's) and `size` (width, height) are what the file holds, before it was turned upright.
    `notes` says what was lost or assumed, one sentence each.
    """

    rgb: FloatArray
    alpha: FloatArray | None
    path: Path
    sha256: str
    mode: str
    size: tuple[int, int]
    notes: tuple[str, ...] = ()

    @classmethod
    def from_array(cls, values: npt.NDArray[Any]) -> Picture:
        """Takes (H, W), (H, W, 3) or (H, W, 4) values, 0 to 255, uint8 or float, R, G, B, alpha.

        `sha256` is of the values as float32. Raises ImageError for any other shape, for values
        that are no numbers or not finite, and for whole numbers outside 0 to 255 (16-bit pictures).
        """
        array = _floats(values)
        if array.ndim == 2:
            array = np.repeat(array[:, :, np.newaxis], 3, axis=2)
        if array.ndim != 3 or array.shape[2] not in (3, 4) or min(array.shape) < 1:
            raise ImageError(
                f"array: not a picture (got shape {array.shape}, expected (height, width, 3))"
            )
        if not np.isfinite(array).all():
            raise ImageError("array: not a picture (got NaN or infinite values)")
        rgb, alpha = np.ascontiguousarray(array[:, :, :3]), None
        if array.shape[2] == 4 and array[:, :, 3].min() < 255:
            alpha = np.ascontiguousarray(array[:, :, 3])
            rgb = composite(rgb, alpha, WHITE)
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        size = (array.shape[1], array.shape[0])
        return cls(rgb, alpha, Path("<array>"), digest, "RGB" if alpha is None else "RGBA", size)


def _floats(values: npt.NDArray[Any]) -> FloatArray:
    """A copy, because the picture must not change with the array; whole numbers must be 8-bit ones."""
    try:
        given = np.asarray(values)
        array = np.array(given, np.float32)
    except (TypeError, ValueError) as error:
        raise ImageError(
            f"array: not a picture (got {type(values).__name__} that holds no numbers)"
        ) from error
    if given.dtype.kind in "iu" and given.size and not 0 <= given.min() <= given.max() <= 255:
        raise ImageError(
            f"array: values out of range (got {given.min()} to {given.max()}, expected 0 to 255)"
        )
    return array


def as_array(source: npt.NDArray[Any] | Image.Image) -> npt.NDArray[Any]:
    """What `Picture.from_array` takes, from an open Pillow picture of any mode; arrays as they are.

    A Pillow picture is treated as its file would be: turned upright, its profile honoured, palette and
    transparency resolved; it is not changed. Raises ImageError if it cannot be decoded.
    """
    if not isinstance(source, Image.Image):
        return source
    with one_line_errors(Path(getattr(source, "filename", "") or "picture")):
        rgb, alpha = to_rgb_and_alpha(_upright(source.copy(), []), [])
    return rgb if alpha is None else np.dstack([rgb, alpha])


def read_picture(path: str | Path, *, background: tuple[float, float, float] = WHITE) -> Picture:
    """Reads any picture file; `background` (r, g, b), 0 to 255, shows through what is transparent.

    Raises ImageError if the file is missing, is no picture, is damaged, or has more pixels than
    Pillow's limit against decompression bombs (about 179 million).
    """
    path = Path(path)
    with one_line_errors(path), _open(path) as file:
        notes: list[str] = []
        image = open_picture(file, notes)
        mode, size = image.mode, image.size
        if not keeps_all_bits(image):
            notes.append("16 bits per channel: the upper 8 are used")
            _cut_transparent_colour(image)
        rgb, alpha = to_rgb_and_alpha(_upright(image, notes), notes)
        if alpha is not None:
            rgb = composite(rgb, alpha, background)
        return Picture(rgb, alpha, path, sha256_of(file), mode, size, tuple(notes))


def composite(
    rgb: FloatArray, alpha: FloatArray, background: tuple[float, float, float] = WHITE
) -> FloatArray:
    """Lays (H, W, 3) with (H, W) alpha, both 0 to 255, over one colour, in sRGB as browsers do."""
    opacity = (alpha / np.float32(255))[:, :, np.newaxis]
    under = np.asarray(background, np.float32)
    over: FloatArray = rgb - under
    over *= opacity  # in place: pictures may fill a good part of memory
    over += under
    return over


def sha256_of(file: BinaryIO) -> str:
    """The SHA-256 of a whole open file, in hexadecimal."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def one_line_errors(path: Path) -> Iterator[None]:
    """Turns whatever a decoder raises into an ImageError that names the file.

    Damaged files make Pillow's decoders raise nearly anything (OSError, ValueError, SyntaxError,
    struct.error, OverflowError, ...), so everything is caught here, and nothing but reading happens
    inside.
    """
    try:
        yield
    except ImageError as error:
        raise ImageError(str(error), path=str(path)) from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ImageError(
            f"too large (expected at most {limit:,} pixels)", path=str(path)
        ) from error
    except MemoryError as error:
        raise ImageError("too large for the memory of this machine", path=str(path)) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"damaged or unreadable picture ({reason})", path=str(path)) from error


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    try:
        if path.is_dir():
            raise ImageError("is a folder, not a picture")
        if path.exists() and not path.is_file():
            raise ImageError("is a device or pipe, not a picture file")
        file = path.open("rb")
    except FileNotFoundError as error:
        raise ImageError("no such file") from error
    except OSError as error:
        raise ImageError(f"cannot be opened ({error.strerror or error})") from error
    with file:
        yield file


def open_picture(file: BinaryIO, notes: list[str]) -> Image.Image:
    """Opens a picture at its first frame and checks its size; no pixel is decoded yet.

    Raises whatever the decoder does, to be caught by `one_line_errors`.
    """
    Image.init()
    formats = [name for name in _READABLE if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            # Between one and two times the limit Pillow only warns; from two times on it raises.
            warnings.simplefilter("ignore")
            image = Image.open(file, formats=formats)
    except UnidentifiedImageError as error:
        raise ImageError(_what_it_is_instead(file)) from error
    if min(image.size) < 1:
        raise ImageError(f"has no pixels (got {image.width} x {image.height})")
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        notes.append(f"the first of {frames} frames is used")
        image.seek(0)
    return image


def _what_it_is_instead(file: BinaryIO) -> str:
    file.seek(0)
    start = file.read(256)
    if start[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"):
        return "HEIC pictures cannot be read. Save it as JPEG or PNG"
    instead = looks_like(start)
    known = "PNG, JPEG, TIFF, WebP, GIF, BMP, PPM, AVIF, ..."
    return f"no picture: it looks like {instead}" if instead else f"no known format ({known})"


def _cut_transparent_colour(image: Image.Image) -> None:
    """Cuts PNG's 16-bit transparent colour to 8 bits, as Pillow cuts the pixels."""
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in transparent)


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """Decodes the pixels, then turns them as EXIF says (TIFF's own tag Pillow has applied)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on odd metadata, in a file whose pixels are fine
        image.load()
        try:
            ImageOps.exif_transpose(image, in_place=True)
        except (
            Exception
        ) as error:  # damaged EXIF raises anything, and is no reason to refuse the pixels
            notes.append(f"EXIF is damaged, the picture is not turned ({error})")
    return image
