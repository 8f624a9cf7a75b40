"""Orientation fields: which way a brush moves at every place of a canvas.

A field maps pixel positions to angles in radians. What makes a *kind* of field (its family, its
wavelength) belongs to the texture class; where its vortices lie and its phases belong to the canvas.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]
Field = Callable[[Array, Array], Array]
FieldMaker = Callable[[Generator, int], Field]


def power_noise(rng: Generator, size: int, exponent: float, stretch: float = 1.0) -> Array:
    """Periodic noise (size, size) of zero mean, unit variance and spectrum |f|^-exponent."""
    f = np.fft.fftfreq(size)
    radius = np.hypot(f[:, None] * stretch, f[None]) + 1 / size
    noise = np.fft.ifft2(np.fft.fft2(rng.normal(size=(size, size))) / radius**exponent).real
    return (noise - noise.mean()) / noise.std()


def look_up(grid: Array, x: Array, y: Array) -> Array:
    """Values of a periodic grid at the nearest pixels."""
    size = grid.shape[0]
    return grid[np.floor(y).astype(int) % size, np.floor(x).astype(int) % size]


def _constant(rng: Generator) -> FieldMaker:
    angle = rng.uniform(0, np.pi)
    return lambda _rng, _size: lambda x, _y: np.full_like(x, angle)


def _wavy(rng: Generator) -> FieldMaker:
    angle, frequency, swing = rng.uniform(0, np.pi), rng.uniform(0.01, 0.06), rng.uniform(0.6, 1.6)

    def make(canvas: Generator, _size: int) -> Field:
        p, q = canvas.uniform(0, 2 * np.pi, 2)
        return lambda x, y: angle + swing * (np.sin(frequency * x + p) + np.cos(frequency * y + q))

    return make


def _vortices(rng: Generator) -> FieldMaker:
    """Circles, spirals or rays around the nearest of a few centres, by the pitch."""
    pitch, count = rng.choice([0, 0.5, 1, 1.35, np.pi / 2, np.pi / 2]), int(rng.integers(3, 14))

    def make(canvas: Generator, size: int) -> Field:
        cx, cy = canvas.uniform(0, size, (2, count))

        def field(x: Array, y: Array) -> Array:
            dx, dy = x[..., None] - cx, y[..., None] - cy
            near = (dx**2 + dy**2).argmin(-1)[..., None]
            pick = [np.take_along_axis(d, near, -1)[..., 0] for d in (dy, dx)]
            return np.arctan2(*pick) + pitch

        return field

    return make


def _flow(rng: Generator) -> FieldMaker:
    """A laminar stream that bends around a few whorls of decaying strength."""
    angle, count, reach = rng.uniform(0, np.pi), int(rng.integers(3, 9)), rng.uniform(20, 70)

    def make(canvas: Generator, size: int) -> Field:
        cx, cy = canvas.uniform(0, size, (2, count))
        spin = canvas.choice([-1, 1], count) * 2.5

        def field(x: Array, y: Array) -> Array:
            dx, dy = x[..., None] - cx, y[..., None] - cy
            pull = spin * np.exp(-(dx**2 + dy**2) / (2 * reach**2)) / np.sqrt(dx**2 + dy**2 + 9)
            u = np.cos(angle) / 30 - (pull * dy / 3).sum(-1)
            v = np.sin(angle) / 30 + (pull * dx / 3).sum(-1)
            return np.arctan2(v, u)

        return field

    return make


def _turbulent(rng: Generator) -> FieldMaker:
    exponent, swing = rng.uniform(1.7, 2.6), rng.uniform(0.7, 2.2)
    angle = rng.uniform(0, np.pi)

    def make(canvas: Generator, size: int) -> Field:
        grid = angle + swing * power_noise(canvas, size, exponent)
        return lambda x, y: look_up(grid, x, y)

    return make


KINDS = (_constant, _wavy, _vortices, _flow, _turbulent)


def random_field(rng: Generator) -> FieldMaker:
    """Draws a kind of field for a texture class; the result makes one field per canvas."""
    return KINDS[int(rng.integers(len(KINDS)))](rng)


def trace(field: Field, x: Array, y: Array, length: Array, steps: int) -> Array:
    """Follows a field from many starts at once: points of shape (starts, steps + 1, 2)."""
    points = [np.stack([x, y], -1)]
    for _ in range(steps):
        angle = field(points[-1][:, 0], points[-1][:, 1])
        step = np.stack([np.cos(angle), np.sin(angle)], -1) * (length / steps)[:, None]
        points.append(points[-1] + step)
    return np.stack(points, 1)
