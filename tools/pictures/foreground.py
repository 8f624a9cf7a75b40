"""Boats, the near bank and the tree of the lake picture."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pictures.canvas import Canvas, Colour, lit, mix

# tone, shift towards the light, size, leaves per tip, spread: from the dark inside to the lit outside
LEAVES = (
    (0.05, 1.0, 6.0, 9, 9.0),
    (0.3, -2.0, 5.0, 6, 8.0),
    (0.6, -4.5, 4.0, 4, 5.5),
    (0.95, -6.5, 3.0, 3, 4.0),
)


def boat(canvas: Canvas, x: float, y: float, size: float) -> None:
    """A sailing boat on the waterline y, and its broken reflection."""

    def at(*points: tuple[float, float], up: float = 1.0) -> list[tuple[float, float]]:
        return [(x + size * px, y - up * size * py) for px, py in points]

    for k in range(9):
        low, high = 2 + 6.2 * k, 5.4 + 6.2 * k
        half, shift = 13 * (1 - low / 66), 1.6 * float(np.sin(2.1 * k))
        shape = at(
            (shift - half * 0.5, low),
            (shift + half, low),
            (shift + half * 0.95, high),
            (shift - half * 0.45, high),
            up=-0.8,
        )
        canvas.polygon(shape, (206, 196, 182) if k else (122, 58, 52))
    canvas.polygon(at((-20, 6), (22, 6), (15, -1), (-14, -1)), (150, 52, 44))
    canvas.polygon(at((-20, 6), (22, 6), (21, 4), (-19, 4)), (238, 222, 196))
    canvas.line(at((0, 5), (0, 62)), 1.2 * size, (84, 58, 44))
    canvas.polygon(at((-1.5, 60), (-1.5, 10), (-17, 10)), (255, 240, 214))
    canvas.polygon(at((-1.5, 60), (-1.5, 10), (-6, 10)), (232, 208, 182))
    canvas.polygon(at((1.5, 58), (1.5, 10), (24, 11), (14, 30)), (226, 206, 190))
    canvas.polygon(at((1.5, 58), (1.5, 10), (10, 10.5)), (248, 230, 206))
    canvas.polygon(at((0, 62), (0, 66), (8, 64)), (204, 66, 50))


def bank(canvas: Canvas, rng: Generator, width: int, height: int) -> None:
    """A grassy bank in the right corner, with stones at the water and blades towards the light."""
    edge = [
        (x, height - 64 * float(np.clip((x - 372) / 190, 0, 1)) ** 0.8 - 3)
        for x in range(360, width + 6, 6)
    ]
    canvas.polygon([(360, height), *edge, (width, height)], (62, 66, 44))
    for x, y in edge[1:34]:
        for _ in range(2):
            r = float(rng.uniform(2.5, 6))
            px, py = x + float(rng.normal(0, 3)), y + float(rng.uniform(0, 4))
            grey = lit((140, 128, 120), float(rng.uniform(0.7, 1.05)))
            canvas.ellipse(px, py, r, 0.65 * r, lit(grey, 0.55))
            canvas.ellipse(px - 0.6, py - 0.8, 0.8 * r, 0.45 * r, grey)
    for _ in range(5200):
        x = float(rng.uniform(372, width + 5))
        top = height - 64 * np.clip((x - 372) / 190, 0, 1) ** 0.8
        y = float(top + 5 + (height - top) * rng.uniform() ** 1.2)
        length, lean = rng.uniform(4, 11), rng.normal(-1.5, 2.5)
        green = mix((66, 82, 40), (176, 166, 76), float(rng.uniform()) ** 1.6)
        canvas.line(
            [
                (x, y),
                (x + float(lean) * 0.4, y - float(length) * 0.6),
                (x + float(lean), y - float(length)),
            ],
            0.8,
            green,
        )


def tree(canvas: Canvas, rng: Generator, x: float, foot: float, height: float) -> None:
    """A broad tree: recursive branches, then leaves from the dark inside to the lit outside."""
    tips: list[tuple[float, float]] = []
    _branch(canvas, rng, x, foot, -np.pi / 2 - 0.05, height * 0.3, 15, tips)
    for tone, shift, size, count, spread in LEAVES:
        for tx, ty in tips:
            for _ in range(count):
                dx, dy = rng.normal(0, spread, 2)
                green = mix(
                    (30, 44, 34), (196, 182, 84), float(np.clip(tone + rng.normal(0, 0.1), 0, 1))
                )
                r = size * float(rng.uniform(0.5, 1))
                _leaf(
                    canvas,
                    rng,
                    tx + float(dx) + shift,
                    ty + 0.8 * float(dy) + 0.8 * shift,
                    r,
                    green,
                )


def _branch(
    canvas: Canvas,
    rng: Generator,
    x: float,
    y: float,
    angle: float,
    length: float,
    width: float,
    tips: list[tuple[float, float]],
) -> None:
    x2, y2 = x + length * float(np.cos(angle)), y + length * float(np.sin(angle))
    nx, ny = -float(np.sin(angle)), float(np.cos(angle))
    a, b = width / 2, width * 0.36
    canvas.polygon(
        [
            (x + a * nx, y + a * ny),
            (x2 + b * nx, y2 + b * ny),
            (x2 - b * nx, y2 - b * ny),
            (x - a * nx, y - a * ny),
        ],
        (58, 44, 40),
    )
    canvas.polygon(
        [
            (x - a * nx, y - a * ny),
            (x2 - b * nx, y2 - b * ny),
            (x2 - 0.3 * b * nx, y2 - 0.3 * b * ny),
            (x - 0.3 * a * nx, y - 0.3 * a * ny),
        ],
        (128, 92, 66),
    )
    if width < 4.5:
        tips.append((x2, y2))
    if width < 1.6:
        return
    for turn in (-0.5, 0.05, 0.55):
        bend = angle + turn + float(rng.normal(0, 0.16))
        _branch(
            canvas, rng, x2, y2, bend, length * float(rng.uniform(0.62, 0.82)), width * 0.6, tips
        )


def _leaf(canvas: Canvas, rng: Generator, x: float, y: float, r: float, colour: Colour) -> None:
    turn = float(rng.uniform(0, np.pi))
    c, s = r * float(np.cos(turn)), r * float(np.sin(turn))
    canvas.polygon(
        [
            (x + c, y + s),
            (x - 0.45 * s, y + 0.45 * c),
            (x - c, y - s),
            (x + 0.45 * s, y - 0.45 * c),
        ],
        colour,
    )
