"""Pictures out: PNG, JPEG, TIFF, WebP; tagged sRGB, whole or not at all, with their recipe."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nst.errors import ImageError, ShapeError, UsageError, did_you_mean
from nst.io.atomic import write_atomically
from nst.io.colour_profile import srgb_profile
from nst.io.images import WHITE, composite
from nst.io.picture_transform import to_uint8
from nst.io.recipe import KEYWORD, Recipe, recipe_path
from nst.io.resample import resize


def write_picture(
    path: str | Path,
    rgb: npt.NDArray[Any],
    alpha: npt.NDArray[Any] | None = None,
    *,
    recipe: Recipe | None = None,
    quality: int = 95,
    background: tuple[float, float, float] = WHITE,
) -> None:
    """Writes (H, W, 3), 0 to 255, in the format that the suffix names; 8 bits per channel, rounded.

    `alpha` (h, w), 0 to 255, is resized to the picture; JPEG has none, so there the picture is
    composited over `background`. `quality`, 1 to 100, is for JPEG (always 4:4:4) and WebP (100 is
    lossless). `recipe` goes inside a PNG, and into `<path>.recipe.json` beside the others. Raises
    ImageError, FileError if the file cannot be written.
    """
    path = Path(path)
    encode = _encoder_for(path)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or min(rgb.shape) < 1:
        raise ShapeError(f"picture: not RGB (got shape {rgb.shape}, expected (height, width, 3))")
    if not 1 <= quality <= 100:
        raise UsageError(f"quality: out of range (got {quality!r}, expected 1 to 100)")
    if alpha is not None:
        alpha = resize(alpha, (rgb.shape[0], rgb.shape[1]))
        if encode is _encode_jpeg:
            rgb, alpha = composite(rgb.astype(np.float32), alpha, background), None
    planes = rgb if alpha is None else np.concatenate([rgb, alpha[:, :, np.newaxis]], axis=2)
    image = Image.fromarray(to_uint8(planes))
    try:
        data = encode(image, quality, recipe)
    except (OSError, ValueError, SystemError) as error:
        raise ImageError(f"cannot be encoded ({error})", path=str(path)) from error
    write_atomically(path, data)
    if recipe is not None and encode is not _encode_png:
        write_atomically(recipe_path(path), (recipe.to_json() + "\n").encode())


def check_writable(path: str | Path) -> None:
    """Raises ImageError now, before a long run, if `write_picture` would fail at its end.

    Folders that are not there yet are no obstacle: `write_picture` makes them.
    """
    path = Path(path)
    _encoder_for(path)
    try:
        if path.is_dir():
            raise ImageError("is a folder, not a picture file", path=str(path))
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        # Only writing tells: read-only mounts and access lists do not show in the mode bits.
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".nst-"):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(f"cannot be written here ({reason})", path=str(path)) from error


def _encode_png(image: Image.Image, quality: int, recipe: Recipe | None) -> bytes:
    info = PngInfo()
    info.add(b"sRGB", b"\x01")  # the standard's own tag; rendering intent 1, relative colorimetric
    if recipe is not None:
        info.add_itxt("Software", f"nst {recipe.versions.get('nst', '')}".strip())
        info.add_itxt("Description", " ".join(recipe.command))
        info.add_itxt(KEYWORD, recipe.to_json(), zip=True)
    return _save(image, "PNG", pnginfo=info)


def _encode_jpeg(image: Image.Image, quality: int, recipe: Recipe | None) -> bytes:
    # 4:4:4: brush strokes are colour detail, and halving it would show.
    return _save(
        image, "JPEG", quality=quality, subsampling=0, optimize=True, icc_profile=srgb_profile()
    )


def _encode_tiff(image: Image.Image, quality: int, recipe: Recipe | None) -> bytes:
    return _save(image, "TIFF", compression="tiff_adobe_deflate", icc_profile=srgb_profile())


def _encode_webp(image: Image.Image, quality: int, recipe: Recipe | None) -> bytes:
    # exact: keeps the colour under transparency in a lossless file.
    lossless = quality == 100
    return _save(
        image,
        "WEBP",
        quality=quality,
        lossless=lossless,
        exact=lossless,
        icc_profile=srgb_profile(),
    )


def _save(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


_ENCODERS: dict[str, Callable[[Image.Image, int, Recipe | None], bytes]] = {
    ".png": _encode_png,
    ".jpg": _encode_jpeg,
    ".jpeg": _encode_jpeg,
    ".tif": _encode_tiff,
    ".tiff": _encode_tiff,
    ".webp": _encode_webp,
}


def _encoder_for(path: Path) -> Callable[[Image.Image, int, Recipe | None], bytes]:
    encode = _ENCODERS.get(path.suffix.lower())
    if encode is None:
        expected = ", ".join(_ENCODERS)
        raise ImageError(
            f"unknown picture format (got suffix {path.suffix!r}, expected one of {expected})."
            + did_you_mean(path.suffix, _ENCODERS),
            path=str(path),
        )
    return encode
