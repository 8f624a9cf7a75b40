"""A supersampled canvas that is drawn on in units of the finished picture, and noise to draw with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.float64]
Point = tuple[float, float]
Colour = tuple[float, float, float]


class Canvas:
    """An RGB picture of width x height units, `scale` pixels to the unit."""

    def __init__(self, width: int, height: int, scale: int) -> None:
        self.width, self.height, self.scale = width, height, scale
        self.image = Image.new("RGB", (width * scale, height * scale))
        self.draw = ImageDraw.Draw(self.image)

    def grid(self) -> tuple[Array, Array]:
        """x and y of every pixel in units, each of shape (rows, columns)."""
        y, x = np.mgrid[0 : self.height * self.scale, 0 : self.width * self.scale]
        return (x + 0.5) / self.scale, (y + 0.5) / self.scale

    def noise(self, rng: Generator, exponent: float, stretch: float = 1.0) -> Array:
        """`noise` over the canvas, one sample per unit, so that it does not depend on the scale."""
        field = noise(rng, (self.height, self.width), exponent, stretch)
        size = (self.width * self.scale, self.height * self.scale)
        large = Image.fromarray(field.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
        return np.asarray(large, np.float64)

    def pixels(self) -> Array:
        return np.asarray(self.image, np.float64)

    def put(self, pixels: Array) -> None:
        """Replaces the whole picture by an array (rows, columns, 3)."""
        self.image.paste(Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8)))

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self.draw.polygon([(x * self.scale, y * self.scale) for x, y in points], fill=paint(colour))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        box = [
            (x - rx) * self.scale,
            (y - ry) * self.scale,
            (x + rx) * self.scale,
            (y + ry) * self.scale,
        ]
        self.draw.ellipse(box, fill=paint(colour))

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        path = [(x * self.scale, y * self.scale) for x, y in points]
        self.draw.line(
            path, fill=paint(colour), width=max(1, round(width * self.scale)), joint="curve"
        )

    def finished(self) -> Image.Image:
        return self.image.resize((self.width, self.height), Image.Resampling.LANCZOS)


def paint(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (max(0, min(255, round(c))) for c in colour)
    return red, green, blue


def mix(one: Colour, two: Colour, share: float) -> Colour:
    """`share` of the second colour in the first."""
    a, b, c = (p + (q - p) * share for p, q in zip(one, two, strict=True))
    return a, b, c


def lit(colour: Colour, factor: float) -> Colour:
    a, b, c = (factor * p for p in colour)
    return a, b, c


def smooth(low: float, high: float, value: Array) -> Array:
    """0 below `low`, 1 above `high`, and a smooth step between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def gradient(value: Array, stops: Sequence[tuple[float, Colour]]) -> Array:
    """Colours (..., 3) interpolated between the stops (position, colour)."""
    at = [stop for stop, _ in stops]
    bands = [np.interp(value, at, [colour[k] for _, colour in stops]) for k in range(3)]
    return np.stack(bands, -1)


def noise(rng: Generator, shape: tuple[int, ...], exponent: float, stretch: float = 1.0) -> Array:
    """Noise of zero mean, unit variance and spectrum |f|^-exponent; stretch > 1 draws it out in x.

    It is cut from a larger periodic field, so that opposite edges do not match.
    """
    large = tuple(2 * n for n in shape)
    axes = [np.fft.fftfreq(n) * n / min(large) for n in large]
    axes[-1] = axes[-1] * stretch
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*axes, indexing="ij")))
    radius.flat[0] = np.inf
    field = np.fft.ifftn(np.fft.fftn(rng.normal(size=large)) / radius**exponent).real
    cut = field[tuple(slice(n) for n in shape)]
    return (cut - cut.mean()) / cut.std()
