"""Two styles for the tutorials and the gallery: a pen drawing, and dabs of paint."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from pictures.canvas import Canvas

Array = NDArray[np.float64]

WIDTH, HEIGHT, SCALE = 480, 336, 2
"""Units, and pixels to the unit while drawing."""

PIGMENTS = np.array([[232, 92, 52], [246, 190, 74], [60, 120, 168], [70, 152, 118], [128, 72, 128]])


def draw_ink() -> Image.Image:
    """Pen strokes on paper: hatched once where it is light, crossed where it is dark."""
    rng = np.random.default_rng(12)
    canvas = Canvas(WIDTH, HEIGHT, SCALE)
    canvas.draw.rectangle((0, 0, WIDTH * SCALE, HEIGHT * SCALE), fill=(243, 236, 220))
    dark = _ranked(canvas.noise(rng, 2.6))
    angle = 1.6 * np.pi * _ranked(canvas.noise(rng, 3.2))
    for turn, least, count in ((0.0, 0.25, 5200), (0.9, 0.55, 4200), (-0.7, 0.78, 3200)):
        for _ in range(count):
            _pen_stroke(canvas, rng, dark, angle, turn, least)
    return _finished(canvas.pixels())


def _pen_stroke(
    canvas: Canvas, rng: Generator, dark: Array, angle: Array, turn: float, least: float
) -> None:
    y, x = rng.uniform(0, HEIGHT * SCALE), rng.uniform(0, WIDTH * SCALE)
    points = []
    for _ in range(int(rng.uniform(6, 16))):
        row, column = int(y), int(x)
        if not (0 <= row < HEIGHT * SCALE and 0 <= column < WIDTH * SCALE):
            break
        if dark[row, column] < least:
            break
        points.append((x, y))
        direction = angle[row, column] + turn
        x, y = x + 3 * np.cos(direction), y + 3 * np.sin(direction)
    if len(points) > 2:
        shade = int(rng.uniform(20, 70))
        canvas.draw.line(points, fill=(shade, shade, shade + 18), width=int(rng.integers(1, 4)))


def draw_dabs() -> Image.Image:
    """Short thick dabs of five pigments over a warm ground, laid along a slow field."""
    rng = np.random.default_rng(13)
    canvas = Canvas(WIDTH, HEIGHT, SCALE)
    canvas.draw.rectangle((0, 0, WIDTH * SCALE, HEIGHT * SCALE), fill=(206, 168, 120))
    angle = 2 * np.pi * _ranked(canvas.noise(rng, 3.0))
    hue = _ranked(canvas.noise(rng, 2.4))
    for _ in range(9000):
        y, x = rng.uniform(0, HEIGHT * SCALE), rng.uniform(0, WIDTH * SCALE)
        row, column = int(y), int(x)
        place = np.clip(hue[row, column] + rng.normal(0, 0.12), 0, 0.999)
        colour = PIGMENTS[int(place * len(PIGMENTS))] + rng.normal(0, 16) + rng.normal(0, 6, 3)
        length, width = rng.uniform(8, 17), rng.uniform(5, 9)
        direction = angle[row, column] + rng.normal(0, 0.2)
        along = length * np.array([np.cos(direction), np.sin(direction)])
        ends = [(x - along[0] / 2, y - along[1] / 2), (x + along[0] / 2, y + along[1] / 2)]
        fill = tuple(int(value) for value in np.clip(colour, 0, 255))
        canvas.draw.line(ends, fill=fill, width=round(width))
        for end in ends:
            box = [end[0] - width / 2, end[1] - width / 2, end[0] + width / 2, end[1] + width / 2]
            canvas.draw.ellipse(box, fill=fill)
    return _finished(canvas.pixels())


def _ranked(field: Array) -> Array:
    """The field with its values spread evenly over 0 to 1."""
    ranks = np.empty(field.size)
    ranks[np.argsort(field, axis=None)] = np.linspace(0, 1, field.size)
    return ranks.reshape(field.shape)


def _finished(pixels: Array) -> Image.Image:
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
