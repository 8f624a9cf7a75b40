"""A second style picture for the tutorials: a floor of stone tiles, laid in rings and bands."""

from __future__ import annotations

import numpy as np
from numpy.random import default_rng
from PIL import Image

from pictures.canvas import Array, Canvas, smooth

WIDTH, HEIGHT, SCALE, SEED = 480, 336, 2, 5
TILE = 9.0
"""Mean distance of two tiles, in units of the picture."""
STONES = (
    (232.0, 214.0, 172.0),
    (196.0, 92.0, 58.0),
    (222.0, 160.0, 74.0),
    (122.0, 54.0, 44.0),
    (84.0, 98.0, 74.0),
)
GROUT = (46.0, 38.0, 36.0)
RINGS = ((130.0, 150.0), (372.0, 96.0), (352.0, 282.0), (20.0, 330.0))


def draw_mosaic() -> Image.Image:
    canvas, rng = Canvas(WIDTH, HEIGHT, SCALE), default_rng(SEED)
    x, y = canvas.grid()
    columns, rows = int(WIDTH / TILE) + 4, int(HEIGHT / TILE) + 4
    cells = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1) - 1.0
    centres = (cells + rng.uniform(0.12, 0.88, cells.shape)) * TILE  # (rows, columns, 2)
    colours = stone(centres[..., 0], centres[..., 1]) + rng.normal(0, 11, (rows, columns, 1))
    first, second, colour = nearest(x, y, centres, colours)
    joint = smooth(0.5, 1.5, second - first)[..., None]
    light = (1 + 0.1 * smooth(2.5, 6.0, second - first))[..., None]
    canvas.put(np.array(GROUT) * (1 - joint) + colour * light * joint)
    return canvas.finished()


def stone(x: Array, y: Array) -> Array:
    """The colour of the tile that lies there: rings around the nearest centre."""
    far = np.min([np.hypot(x - cx, y - cy) for cx, cy in RINGS], axis=0)
    ring = (far / 19 + 0.35 * np.sin(x / 40)).astype(int)
    return np.asarray(STONES)[np.array([0, 1, 0, 2, 3, 2, 4])[ring % 7]]


def nearest(x: Array, y: Array, centres: Array, colours: Array) -> tuple[Array, Array, Array]:
    """Distances of every pixel to the two nearest tiles, and the colour of the nearest."""
    column, row = (x / TILE).astype(int) + 1, (y / TILE).astype(int) + 1
    first, second = np.full(x.shape, np.inf), np.full(x.shape, np.inf)
    colour = np.zeros((*x.shape, 3))
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            at = row + down, column + right
            far = np.hypot(centres[at][..., 0] - x, centres[at][..., 1] - y)
            is_first = far < first
            second = np.where(is_first, first, np.minimum(second, far))
            first = np.where(is_first, far, first)
            colour[is_first] = colours[at][is_first]
    return first, second, colour
