"""Texture families computed per pixel: cells, gratings, lattices, contours, whorls, noise, patchwork."""

from __future__ import annotations

import marks
import numpy as np
from colours import Mixer, palette
from fields import Array, power_noise
from marks import Painter
from numpy.random import Generator
from PIL import Image


def to_image(values: Array) -> Image.Image:
    """An array (size, size, 3) in 0..255 as a picture."""
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _grid(size: int) -> tuple[Array, Array]:
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    return x, y


def _bands(values: Array, colours: Array, hard: bool) -> Array:
    """Maps 0..1 onto the palette, in flat bands or blended."""
    place = (
        np.clip(values, 0, 1) * (len(colours) - 1e-6)
        if hard
        else np.clip(values, 0, 1) * (len(colours) - 1)
    )
    low = place.astype(int)
    if hard:
        return colours[low]
    share = (place - low)[..., None]
    return colours[low] * (1 - share) + colours[np.minimum(low + 1, len(colours) - 1)] * share


def cells(rng: Generator) -> Painter:
    """Voronoi cells: stained glass, cracked earth, scales."""
    mixer, count, border = Mixer(rng), int(rng.integers(25, 320)), rng.uniform(0, 6)
    shaded, stretch = rng.uniform() < 0.4, rng.choice([1, 1, 2, 3])

    def paint(canvas: Generator, size: int) -> Image.Image:
        x, y = (g.astype(np.float32) for g in _grid(size))
        px, py = canvas.uniform(0, size, (2, count)).astype(np.float32)
        first = np.full((size, size), 1e9, np.float32)
        second, owner = first.copy(), np.zeros((size, size), int)
        for k in range(count):
            d = (x - px[k]) ** 2 + ((y - py[k]) * stretch) ** 2
            nearer = d < first
            second = np.where(nearer, first, np.minimum(second, d))
            owner[nearer] = k
            first = np.minimum(first, d)
        rim = np.sqrt(second) - np.sqrt(first)
        image = mixer.pick(canvas, size, px.astype(float), py.astype(float))[owner]
        if shaded:
            image = image * (0.55 + 0.6 * np.clip(rim / rim.max() * 2, 0, 1))[..., None]
        image[rim < border] = mixer.background
        return to_image(image)

    return paint


def gratings(rng: Generator) -> Painter:
    """Waves of one or two directions, bent by a slow warp."""
    colours, hard = palette(rng, int(rng.integers(2, 6))), rng.uniform() < 0.5
    angle, wave, crossed = rng.uniform(0, np.pi), rng.uniform(6, 48), rng.uniform() < 0.4
    warp = rng.choice([0, 6, 14])

    def paint(canvas: Generator, size: int) -> Image.Image:
        x, y = _grid(size)
        bend = warp * power_noise(canvas, size, 2.5)
        u = x * np.cos(angle) + y * np.sin(angle) + bend
        v = -x * np.sin(angle) + y * np.cos(angle) + bend
        value = np.sin(2 * np.pi * u / wave + canvas.uniform(0, 6))
        if crossed:
            value = (value + np.sin(2 * np.pi * v / (wave * 1.2) + canvas.uniform(0, 6))) / 2
        return to_image(_bands(value / 2 + 0.5, colours, hard))

    return paint


def lattice(rng: Generator) -> Painter:
    """Bricks, weaves and checks, turned and a little uneven."""
    mixer, angle = Mixer(rng), rng.choice([0, 0, 0.3, 0.785, 1.2])
    wide, high = rng.uniform(9, 44), rng.uniform(7, 26)
    kind, joint = int(rng.integers(3)), rng.uniform(0.8, 4)

    def paint(canvas: Generator, size: int) -> Image.Image:
        x, y = _grid(size)
        wobble = canvas.uniform(0, 3) * power_noise(canvas, size, 2.5)
        u = x * np.cos(angle) + y * np.sin(angle) + wobble + 2 * size
        v = -x * np.sin(angle) + y * np.cos(angle) + wobble + 2 * size
        row = np.floor(v / high).astype(int)
        shifted = u + (row % 2) * wide / 2 if kind == 0 else u
        column = np.floor(shifted / wide).astype(int)
        fill = mixer.pick(canvas, size, canvas.uniform(0, size, 997), canvas.uniform(0, size, 997))
        image = fill[(row * 131 + column * 17) % 997]
        if kind == 2:
            over = (row + column) % 2 == 0
            bulge = np.where(
                over, np.sin(np.pi * ((shifted / wide) % 1)), np.sin(np.pi * ((v / high) % 1))
            )
            image = (
                np.where(over[..., None], mixer.colours[0], mixer.colours[1])
                * (0.45 + 0.6 * bulge)[..., None]
            )
        elif kind == 0:
            image[(v % high < joint) | (shifted % wide < joint)] = mixer.background
        return to_image(image)

    return paint


def contours(rng: Generator) -> Painter:
    """Level bands of smooth noise: maps, marble, agate."""
    colours, hard = palette(rng, int(rng.integers(3, 8))), rng.uniform() < 0.6
    repeat, exponent = rng.uniform(1, 7), rng.uniform(1.9, 3)
    veins, stretch = rng.uniform(0, 2.5), rng.choice([1, 1, 2.5])

    def paint(canvas: Generator, size: int) -> Image.Image:
        x, _ = _grid(size)
        value = power_noise(canvas, size, exponent, stretch) * repeat / 4 + veins * x / size * 3
        return to_image(_bands(np.abs((value % 1) * 2 - 1), colours, hard))

    return paint


def whorls(rng: Generator) -> Painter:
    """Rings and spiral arms around centres: suns, shells, tree rings."""
    colours, hard = palette(rng, int(rng.integers(2, 6))), rng.uniform() < 0.5
    wave, arms, count = (
        rng.uniform(7, 26),
        int(rng.choice([0, 0, 1, 2, 5])),
        int(rng.integers(3, 22)),
    )
    rough = rng.uniform(0, 0.35)

    def paint(canvas: Generator, size: int) -> Image.Image:
        x, y = _grid(size)
        best, value = np.full((size, size), np.inf), np.zeros((size, size))
        for cx, cy in canvas.uniform(0, size, (count, 2)):
            d = np.hypot(x - cx, y - cy)
            phase = d / wave + arms * np.arctan2(y - cy, x - cx) / (2 * np.pi)
            value = np.where(d < best, phase, value)
            best = np.minimum(best, d)
        value = value + rough * power_noise(canvas, size, 1.8)
        return to_image(_bands(np.abs((value % 1) * 2 - 1), colours, hard))

    return paint


def noise(rng: Generator) -> Painter:
    """Coloured power-law noise, isotropic or stretched."""
    axes, ground = palette(rng, 3), palette(rng, 2)[0]
    exponent, stretch, contrast = (
        rng.uniform(0.5, 2.2),
        rng.choice([1, 1, 3, 6]),
        rng.uniform(0.3, 0.7),
    )

    def paint(canvas: Generator, size: int) -> Image.Image:
        waves = np.stack([power_noise(canvas, size, exponent, stretch) for _ in range(3)], -1)
        return to_image(ground + contrast * waves @ (axes - axes.mean(0)))

    return paint


def patchwork(rng: Generator) -> Painter:
    """Two textures of marks side by side in large regions, so that there are outlines to see."""
    makers = (marks.strokes, marks.dabs, marks.hatching, marks.leaves, marks.dots, cells, contours)
    one, two = (makers[int(k)](rng) for k in rng.choice(len(makers), 2, replace=False))
    exponent, straight = rng.uniform(2.2, 3), rng.uniform() < 0.4

    def paint(canvas: Generator, size: int) -> Image.Image:
        mask = power_noise(canvas, size, exponent)
        if straight:
            x, y = _grid(size)
            mask = np.sin(x / canvas.uniform(12, 40)) + np.sin(y / canvas.uniform(12, 40))
        cover = Image.fromarray(((mask > 0) * 255).astype(np.uint8))
        return Image.composite(one(canvas, size), two(canvas, size), cover)

    return paint
