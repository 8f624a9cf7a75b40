"""What the painting starts from: content, noise, grey, the style's colours as noise, or a given picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.errors import UsageError
from nst.io.picture_transform import PictureTransform
from nst.io.resample import resize
from nst.proto import InitialImage

Picture = NDArray[np.float32]
"""RGB (H, W, 3), 0 to 255."""


def initial_picture(
    init: InitialImage,
    shape: tuple[int, int],
    *,
    content: Picture | None,
    style: Picture | None,
    given: Picture | None,
    transform: PictureTransform,
    seed: int,
) -> Picture:
    """Returns the start picture (H, W, 3) of `shape`; noise is centred on the model's mean colour.

    Raises UsageError where the source that `init.from` names was not given.
    """
    kind = getattr(init, "from")
    rng = np.random.RandomState(seed & 0xFFFFFFFF)
    if kind == InitialImage.CONTENT:
        start = _need(content, "CONTENT", "a content picture", shape)
    elif kind == InitialImage.IMAGE:
        start = _need(given, "IMAGE", "init { image: ... }", shape)
    elif kind == InitialImage.GRAY:
        start = np.broadcast_to(_mean_colour(transform), (*shape, 3)).astype(np.float32)
    elif kind == InitialImage.NOISE:
        noise = rng.normal(0.0, init.noise_std, (*shape, 3))
        start = (noise + _mean_colour(transform)).astype(np.float32)
    else:
        pixels = _need(style, "STYLE_STATISTICS", "a style picture", shape).reshape(-1, 3)
        start = _noise_like(pixels, shape, rng)
    if not 0 <= init.blend <= 1:
        raise UsageError(f"init: blend must be a share (got {init.blend}, expected 0 to 1)")
    if init.blend:
        other = _need(content, "blend", "a content picture", shape)
        start = (1 - init.blend) * start + init.blend * other
    return np.ascontiguousarray(start, np.float32)


def _need(picture: Picture | None, what: str, missing: str, shape: tuple[int, int]) -> Picture:
    if picture is None:
        raise UsageError(f"init: {what} needs {missing} (got none)")
    return resize(picture, shape)


def _mean_colour(transform: PictureTransform) -> NDArray[np.float32]:
    """The colour that encodes to zero, as R, G, B."""
    return np.asarray(transform.decode(np.zeros((1, 3, 1, 1), np.float32))[0, 0], np.float32)


def _noise_like(
    pixels: NDArray[Any], shape: tuple[int, int], rng: np.random.RandomState
) -> Picture:
    """White noise with the mean colour and colour covariance of `pixels` (P, 3)."""
    mean = pixels.mean(axis=0)
    covariance = np.cov(pixels.T) + 1e-3 * np.eye(3)  # a grey style has none of its own
    root = np.linalg.cholesky(covariance)
    noise = rng.normal(size=(*shape, 3)) @ root.T + mean
    return np.asarray(np.clip(noise, 0, 255), np.float32)
