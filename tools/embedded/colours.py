"""Palettes, and where on a canvas which of their colours falls."""

from __future__ import annotations

import colorsys

import numpy as np
from fields import Array, look_up, power_noise
from numpy.random import Generator

Colour = tuple[int, int, int]


def palette(rng: Generator, count: int) -> Array:
    """Colours (count, 3) in 0..255 that belong together: hues scattered around one hue."""
    hue, spread = rng.uniform(), rng.choice([0.03, 0.1, 0.3])
    hues = (hue + rng.normal(0, spread, count)) % 1
    colours = [
        colorsys.hsv_to_rgb(h, s, v)
        for h, s, v in zip(
            hues, rng.uniform(0.1, 1, count), rng.uniform(0.12, 1, count), strict=True
        )
    ]
    return 255 * np.array(colours)


def as_colour(value: Array) -> Colour:
    """A colour as Pillow takes it."""
    red, green, blue = np.clip(value, 0, 255).astype(int)
    return int(red), int(green), int(blue)


class Mixer:
    """Colours for marks: scattered at random, or lying in drifts as light does in a painting."""

    def __init__(self, rng: Generator) -> None:
        self.colours = palette(rng, int(rng.integers(3, 8)))
        self.background = palette(rng, 2)[0]
        self.coherence = rng.choice([0.0, 0.6, 0.9])
        self.scatter = rng.uniform(4, 28)

    def pick(self, rng: Generator, size: int, x: Array, y: Array) -> Array:
        """One colour per position, shape (n, 3)."""
        n = len(x)
        rank = np.argsort(np.argsort(power_noise(rng, size, 2.0), axis=None)) / size**2
        drift = look_up(rank.reshape(size, size), x, y)
        share = np.where(rng.uniform(size=n) < self.coherence, drift, rng.uniform(size=n))
        index = np.minimum((share * len(self.colours)).astype(int), len(self.colours) - 1)
        shade = rng.normal(0, self.scatter, (n, 1)) + rng.normal(0, 5, (n, 3))
        return self.colours[index] + shade
