"""The style picture: thick paint in streams that wind around moons."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator, default_rng
from PIL import Image

from pictures.canvas import Array, Canvas, Colour, gradient, noise, smooth

WIDTH, HEIGHT, SCALE, SEED = 640, 448, 2, 8
INK, TEAL, AQUA = (16.0, 30.0, 62.0), (22.0, 84.0, 112.0), (88.0, 168.0, 170.0)
CREAM, AMBER, CORAL = (248.0, 234.0, 188.0), (240.0, 178.0, 62.0), (214.0, 84.0, 56.0)
MOONS = (  # x, y, radius, turning sense
    (158.0, 122.0, 34.0, 1.0),
    (470.0, 88.0, 22.0, -1.0),
    (402.0, 300.0, 46.0, 1.0),
    (92.0, 350.0, 20.0, -1.0),
    (590.0, 236.0, 15.0, 1.0),
)
LAYERS = (
    (17.0, 4.2, 1.5),
    (10.0, 4.6, 1.7),
    (6.0, 5.0, 1.7),
    (3.6, 5.0, 0.9),
)  # width, length/width, cover


def draw_swirl() -> Image.Image:
    rng = default_rng(SEED)
    canvas, height = Canvas(WIDTH, HEIGHT, SCALE), Canvas(WIDTH, HEIGHT, SCALE)
    angle, colour, detail = design(rng)
    canvas.put(colour.repeat(SCALE, 0).repeat(SCALE, 1))  # the ground that shows between strokes
    for width, aspect, cover in LAYERS:
        stroke_layer(canvas, height, rng, (angle, colour, detail), width, aspect, cover)
    return impasto(canvas, height).finished()


def design(rng: Generator) -> tuple[Array, Array, Array]:
    """Per unit of the picture: direction of the brush, colour, and how much fine work it gets."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    u = 1.0 + 0.35 * np.sin(y / 52 + 0.6)
    v = 0.5 * np.sin(x / 86 + y / 140) + 0.12 * noise(rng, x.shape, 1.9)
    halo, phase = (
        np.zeros_like(x),
        0.011 * (y + 46 * np.sin(x / 105) + 12 * noise(rng, x.shape, 2.1)),
    )
    for mx, my, radius, sense in MOONS:
        dx, dy = x - mx, y - my
        far = np.hypot(dx, dy)
        reach = np.exp(-((far / (2.6 * radius)) ** 2))
        pull = 4.5 * sense * reach
        u = u * (1 - reach) - pull * dy / (far + 1)
        v = v * (1 - reach) + pull * dx / (far + 1)
        halo = np.maximum(
            halo,
            np.exp(-((far / (1.55 * radius)) ** 2))
            + 0.33 * reach * np.cos(far / (0.165 * radius + 2)),
        )
        phase += 0.6 * reach * far / radius
    stream = 0.5 + 0.5 * np.sin(2 * np.pi * phase * 1.35)
    stops = [(0, INK), (0.3, TEAL), (0.55, (42, 118, 140)), (0.8, AQUA), (1, (176, 210, 186))]
    colour = gradient(stream, stops)
    ember = smooth(0.78, 0.98, np.sin(2 * np.pi * phase * 0.675 + 2.2))[..., None] * 0.9
    colour += ember * (np.array(CORAL) - colour)
    glow = np.clip(halo, 0, 1)
    light = gradient(
        glow, [(0, TEAL), (0.35, CORAL), (0.62, AMBER), (0.9, CREAM), (1, (255, 248, 222))]
    )
    colour += smooth(0.22, 0.55, glow)[..., None] * (light - colour)
    return np.arctan2(v, u), colour, smooth(0.1, 0.6, glow) + 0.4 * ember[..., 0]


def stroke_layer(
    canvas: Canvas,
    height: Canvas,
    rng: Generator,
    plan: tuple[Array, Array, Array],
    width: float,
    aspect: float,
    cover: float,
) -> None:
    """Strokes of one brush all over; the finest brush only where the plan asks for detail."""
    angle, colour, detail = plan
    count = int(cover * WIDTH * HEIGHT / (width * width * aspect) * 1.6)
    for x, y in rng.uniform((-8, -8), (WIDTH + 8, HEIGHT + 8), (count, 2)):
        if width < 5 and rng.uniform() > _at(detail, x, y) + 0.15:
            continue
        path = follow(angle, x, y, width * aspect * rng.uniform(0.7, 1.4))
        middle = path[len(path) // 2]
        tone = _at(colour, *middle) * rng.normal(1, 0.07) + rng.normal(0, 7, 3)
        bristles(canvas, height, rng, path, tone, width * rng.uniform(0.75, 1.1))


def follow(angle: Array, x: float, y: float, length: float) -> Array:
    """A path of 7 points along the field."""
    points = [(x, y)]
    for _ in range(6):
        a = _at(angle, x, y)
        x, y = x + float(np.cos(a)) * length / 6, y + float(np.sin(a)) * length / 6
        points.append((x, y))
    return np.array(points)


def bristles(
    canvas: Canvas, height: Canvas, rng: Generator, path: Array, tone: Array, width: float
) -> None:
    """One stroke as parallel hairs: each its own shade and thickness of paint, ragged at the ends."""
    hairs = max(3, round(width / 1.25))
    along = np.gradient(path, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], -1) / (np.hypot(*along.T)[:, None] + 1e-9)
    load = rng.normal(0, 1, hairs)
    for k in range(hairs):
        offset = (k + 0.5) / hairs - 0.5
        hair = path + across * width * offset
        first, last = rng.uniform(0, 0.6, 2)
        hair[0] += first * (hair[1] - hair[0])
        hair[-1] -= last * (hair[-1] - hair[-2])
        shade: Colour = tuple(tone + 11 * load[k])
        points = [(float(p), float(q)) for p, q in hair]
        canvas.line(points, width / hairs + 0.45, shade)
        thick = 128 + 30 * load[k] + 46 * (1 - 4 * offset * offset) + rng.normal(0, 6)
        height.line(points, width / hairs + 0.45, (thick, thick, thick))


def impasto(canvas: Canvas, height: Canvas) -> Canvas:
    """Lights the relief of the paint from the upper left."""
    relief = height.pixels()[..., 0]
    gy, gx = np.gradient(relief)
    light = np.clip((gx + gy) / 2, -34, 34)
    canvas.put(canvas.pixels() * (1 + 0.0042 * light[..., None]) + 0.55 * light[..., None])
    return canvas


def _at(field: Array, x: float, y: float) -> Array:
    return field[min(max(int(y), 0), HEIGHT - 1), min(max(int(x), 0), WIDTH - 1)]
