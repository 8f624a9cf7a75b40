"""Houses, church, quay and viaduct of the lake picture; light comes from the left."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pictures.canvas import Canvas, Colour, lit, mix

WALLS: tuple[Colour, ...] = (
    (242, 228, 204),
    (232, 196, 140),
    (222, 158, 122),
    (206, 216, 214),
    (236, 210, 178),
    (198, 120, 98),
    (240, 234, 222),
)
ROOFS: tuple[Colour, ...] = ((168, 78, 56), (146, 66, 54), (112, 86, 88), (184, 98, 66))
DUSK: Colour = (220, 190, 176)


def house(
    canvas: Canvas,
    rng: Generator,
    left: float,
    foot: float,
    width: float,
    height: float,
    far: float,
) -> None:
    """A gabled front with a receding side to its right."""
    wall = mix(WALLS[int(rng.integers(len(WALLS)))], DUSK, far)
    roof = mix(ROOFS[int(rng.integers(len(ROOFS)))], DUSK, far)
    side, rise = 0.42 * width, 0.5 * width * rng.uniform(0.75, 1.15)
    right, top = left + width, foot - height
    middle, ridge = left + width / 2, top - rise
    canvas.polygon(
        [(right, top), (right + side, top), (right + side, foot), (right, foot)], lit(wall, 0.62)
    )
    canvas.polygon([(left, foot), (left, top), (middle, ridge), (right, top), (right, foot)], wall)
    canvas.polygon(
        [
            (middle, ridge),
            (middle + side, ridge),
            (right + side + 1.5, top + 1.5),
            (right, top + 1.5),
        ],
        lit(roof, 0.8),
    )
    canvas.line(
        [(left - 1.6, top + 2), (middle, ridge), (right + 1, top + 2)], 1.8, lit(roof, 1.25)
    )
    windows(canvas, rng, left, top, width, foot, wall)
    if rng.uniform() < 0.6:
        canvas.box(
            middle + side * 0.6, ridge - 5, middle + side * 0.6 + 3, ridge + 4, lit(roof, 0.7)
        )


def windows(
    canvas: Canvas, rng: Generator, left: float, top: float, width: float, foot: float, wall: Colour
) -> None:
    columns, step = max(2, round(width / 9)), 10.5
    pane = min(3.2, width / columns * 0.42)
    for y in np.arange(top + 4, foot - 8, step):
        for k in range(columns):
            x = left + width * (k + 0.5) / columns
            glow = rng.uniform() < 0.22
            canvas.box(x - pane / 2 - 0.7, y - 0.7, x + pane / 2 + 0.7, y + 5.7, lit(wall, 1.08))
            canvas.box(
                x - pane / 2, y, x + pane / 2, y + 5, (255, 214, 120) if glow else (66, 70, 88)
            )


def row_of_houses(
    canvas: Canvas, rng: Generator, start: float, end: float, foot: float, size: float
) -> None:
    """Houses side by side, the farther row smaller and hazier."""
    x, far = start, 0.45 * (1.4 - size) if size < 1 else 0.0
    while x < end - 30 * size:
        width = rng.uniform(17, 28) * size
        house(canvas, rng, x, foot, width, rng.uniform(20, 42) * size, far)
        x += width * rng.uniform(1.15, 1.5)


def church(canvas: Canvas, x: float, foot: float) -> None:
    """A tower with a pointed spire beside a long nave."""
    stone, slate = (226.0, 210.0, 186.0), (86.0, 96.0, 112.0)
    canvas.box(x + 16, foot - 44, x + 68, foot, lit(stone, 0.8))
    canvas.polygon(
        [(x + 14, foot - 44), (x + 26, foot - 62), (x + 64, foot - 62), (x + 70, foot - 44)], slate
    )
    canvas.box(x, foot - 92, x + 13, foot, stone)
    canvas.box(x + 13, foot - 92, x + 19, foot, lit(stone, 0.66))
    canvas.polygon([(x - 2, foot - 92), (x + 8, foot - 142), (x + 14, foot - 92)], lit(slate, 1.15))
    canvas.polygon(
        [(x + 14, foot - 92), (x + 8, foot - 142), (x + 21, foot - 92)], lit(slate, 0.72)
    )
    canvas.ellipse(x + 6.5, foot - 80, 3.4, 3.4, (70, 66, 72))
    canvas.ellipse(x + 6.5, foot - 80, 2.5, 2.5, (246, 232, 196))
    for k in range(4):
        canvas.box(x + 24 + 11 * k, foot - 36, x + 28 + 11 * k, foot - 20, (74, 74, 92))
        canvas.ellipse(x + 26 + 11 * k, foot - 36, 2, 3, (74, 74, 92))
    for y in (68, 52):
        canvas.box(x + 4.5, foot - y, x + 8.5, foot - y + 9, (78, 74, 84))


def quay(canvas: Canvas, rng: Generator, left: float, right: float, shore: float) -> None:
    """A wall of dressed stone along the water."""
    for row in range(2):
        x, top = left - rng.uniform(0, 8), shore - 6 + 3.2 * row
        while x < right:
            width = rng.uniform(5, 10)
            stone = lit((176, 160, 146), float(rng.uniform(0.72, 1.08)) * (1 - 0.2 * row))
            canvas.box(x, top, min(x + width - 0.5, right), top + 3, stone)
            x += width
    canvas.box(left, shore - 7, right, shore - 5.6, (214, 196, 174))


def viaduct(
    canvas: Canvas, rng: Generator, left: float, right: float, deck: float, shore: float
) -> None:
    """Round arches on tall piers that stand in the lake."""
    stone, shade = (198.0, 172.0, 146.0), (112.0, 98.0, 104.0)
    span, pier = 46.0, 12.0
    for x in np.arange(left, right, span):
        x = float(x)
        canvas.box(x, deck, x + pier, shore, stone)
        canvas.box(x + 0.66 * pier, deck + 10, x + pier, shore, shade)
        canvas.box(x - 1.5, shore - 7, x + pier + 1.5, shore, lit(stone, 0.8))
        radius, middle = (span - pier) / 2, x + pier + (span - pier) / 2
        angles = np.linspace(np.pi, 2 * np.pi, 28)
        spring = deck + 12 + radius
        arch = [
            (middle + radius * float(np.cos(a)), spring + radius * float(np.sin(a))) for a in angles
        ]
        canvas.polygon(
            [
                (x + pier - 1, deck + 3),
                (x + pier - 1, spring),
                *arch,
                (x + span + 1, spring),
                (x + span + 1, deck + 3),
            ],
            stone,
        )
        canvas.line([(px, py + 0.8) for px, py in arch[13:]], 2.6, shade)
        canvas.line(arch, 1.1, lit(stone, 1.16))
        for y in np.arange(deck + 16, shore - 8, 6):
            canvas.line(
                [(x + 0.6, float(y)), (x + pier - 0.6, float(y))],
                0.5,
                lit(stone, float(rng.uniform(0.7, 0.9))),
            )
    canvas.box(left - 14, deck - 2, right, deck + 4, lit(stone, 1.06))
    canvas.box(left - 14, deck + 4, right, deck + 5.6, shade)
    for x in np.arange(left - 12, right, 6):
        canvas.box(float(x), deck - 6, float(x) + 1.6, deck - 2, stone)
    canvas.box(left - 14, deck - 7.2, right, deck - 5.6, lit(stone, 1.16))
