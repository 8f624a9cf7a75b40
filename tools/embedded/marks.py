"""Texture families made of marks: strokes, dabs, hatching, curls, leaves, dots, scribbles.

A family takes the generator of a texture class, draws from it what all canvases of the class share,
and returns a painter: a function that paints one canvas with the generator of that canvas.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from colours import Mixer, as_colour
from fields import Array, look_up, power_noise, random_field, trace
from numpy.random import Generator
from PIL import Image, ImageDraw

Painter = Callable[[Generator, int], Image.Image]


def _starts(rng: Generator, count: int, size: int, margin: float) -> tuple[Array, Array]:
    x, y = rng.uniform(-margin, size + margin, (2, count))
    return x, y


def _blank(mixer: Mixer, size: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (size, size), as_colour(mixer.background))
    return image, ImageDraw.Draw(image)


def _stroke(
    draw: ImageDraw.ImageDraw,
    points: Array,
    colour: Array,
    width: float,
    hairs: int,
    rng: Generator,
) -> None:
    """One stroke along `points`, as one line or as several hairs of slightly different colour."""
    across = points[-1] - points[0]
    across = np.array([-across[1], across[0]]) / (np.hypot(*across) + 1e-9)
    for k in range(hairs):
        shift = across * width * ((k + 0.5) / hairs - 0.5)
        tone = colour + (rng.normal(0, 22) if hairs > 1 else 0.0)
        path = [(float(p), float(q)) for p, q in points + shift]
        draw.line(path, fill=as_colour(tone), width=max(1, round(width / hairs)), joint="curve")


def strokes(rng: Generator) -> Painter:
    """Long brush strokes along an orientation field."""
    mixer, field = Mixer(rng), random_field(rng)
    length, width = rng.uniform(6, 55), rng.uniform(1.2, 9)
    hairs = int(rng.choice([1, 1, 2, 3])) if width > 3 else 1
    cover, jitter = rng.uniform(1.2, 3.5), rng.uniform(0, 0.25)

    def paint(canvas: Generator, size: int) -> Image.Image:
        image, draw = _blank(mixer, size)
        x, y = _starts(canvas, int(cover * size**2 / (length * width + 15)), size, length / 2)
        lengths = length * canvas.uniform(0.6, 1.4, len(x))
        paths = trace(field(canvas, size), x, y, lengths, 5)
        paths[:, 1:] += canvas.normal(0, jitter * length / 4, (len(x), 1, 2))
        widths = width * canvas.uniform(0.6, 1.3, len(x))
        for path, colour, w in zip(paths, mixer.pick(canvas, size, x, y), widths, strict=True):
            _stroke(draw, path, colour, w, hairs, canvas)
        return image

    return paint


def dabs(rng: Generator) -> Painter:
    """Short thick dabs, large ones first and small ones over them, as a painter refines."""
    mixer, field = Mixer(rng), random_field(rng)
    widest, aspect = rng.uniform(6, 22), rng.uniform(1.1, 4)
    layers, hairs = int(rng.integers(2, 4)), int(rng.integers(1, 5))

    def paint(canvas: Generator, size: int) -> Image.Image:
        image, draw = _blank(mixer, size)
        flow = field(canvas, size)
        for width in widest * 0.55 ** np.arange(layers):
            x, y = _starts(canvas, int(1.6 * size**2 / (width**2 * aspect + 10)), size, width)
            paths = trace(flow, x, y, width * aspect * canvas.uniform(0.7, 1.3, len(x)), 3)
            for path, colour in zip(paths, mixer.pick(canvas, size, x, y), strict=True):
                _stroke(draw, path, colour, width * canvas.uniform(0.7, 1.2), hairs, canvas)
        return image

    return paint


def hatching(rng: Generator) -> Painter:
    """Pen hatching: sheets of parallel lines whose density follows a drawn tone."""
    mixer = Mixer(rng)
    angles = rng.uniform(0, np.pi) + np.arange(int(rng.integers(1, 4))) * rng.uniform(0.5, 1.6)
    gap, width, wobble = rng.uniform(3.5, 11), rng.uniform(1, 2.6), rng.uniform(0, 2)
    toned = rng.uniform() < 0.6

    def paint(canvas: Generator, size: int) -> Image.Image:
        image, draw = _blank(mixer, size)
        tone = power_noise(canvas, size, 2.2)
        for level, angle in enumerate(angles):
            ink = as_colour(mixer.colours[level % len(mixer.colours)])
            along, across = (
                np.array([np.cos(angle), np.sin(angle)]),
                np.array([-np.sin(angle), np.cos(angle)]),
            )
            for offset in np.arange(-size, size, gap):
                t = np.arange(-0.75 * size, 0.75 * size, 14) + canvas.uniform(0, 14)
                points = (
                    size / 2 + across * (offset + canvas.normal(0, wobble)) + t[:, None] * along
                )
                points += canvas.normal(0, wobble / 3 + 1e-6, points.shape)
                shown = look_up(tone, points[:-1, 0], points[:-1, 1]) > (level - 1) * 0.6
                for p, q, on in zip(points[:-1], points[1:], shown, strict=True):
                    if on or not toned:
                        draw.line([*p, *q], fill=ink, width=round(width))
        return image

    return paint


def curls(rng: Generator) -> Painter:
    """Arcs and little spirals that wind up."""
    mixer = Mixer(rng)
    radius, turns, width = rng.uniform(5, 26), rng.uniform(0.4, 2.4), rng.uniform(1, 5)
    shrink, cover = rng.uniform(0, 0.9), rng.uniform(0.8, 2.5)

    def paint(canvas: Generator, size: int) -> Image.Image:
        image, draw = _blank(mixer, size)
        x, y = _starts(canvas, int(cover * size**2 / (2 * radius * (radius + width))), size, radius)
        t = np.linspace(0, 1, 8 + int(10 * turns))
        for cx, cy, colour in zip(x, y, mixer.pick(canvas, size, x, y), strict=True):
            angle = canvas.uniform(0, 2 * np.pi) + canvas.choice([-1, 1]) * 2 * np.pi * turns * t
            r = radius * canvas.uniform(0.6, 1.3) * (1 - shrink * t)
            path = [
                (float(a), float(b))
                for a, b in zip(cx + r * np.cos(angle), cy + r * np.sin(angle), strict=True)
            ]
            draw.line(path, fill=as_colour(colour), width=max(1, round(width)), joint="curve")
        return image

    return paint


def leaves(rng: Generator) -> Painter:
    """Dead leaves: overlapping polygons or discs of power-law sizes, plain, outlined or shaded."""
    mixer = Mixer(rng)
    sides, radius, aspect = int(rng.integers(3, 9)), rng.uniform(4, 18), rng.uniform(0.35, 1)
    edge, shade = rng.uniform() < 0.35, rng.uniform() < 0.4
    turn = rng.uniform(0, 2 * np.pi) if rng.uniform() < 0.4 else None
    corners = 24 if sides > 6 else sides

    def paint(canvas: Generator, size: int) -> Image.Image:
        image, draw = _blank(mixer, size)
        x, y = _starts(canvas, int(2.2 * size**2 / (2.5 * radius**2 * aspect)), size, radius)
        k = 2 * np.pi * np.arange(corners) / corners
        for cx, cy, colour in zip(x, y, mixer.pick(canvas, size, x, y), strict=True):
            r = radius * min(0.6 + 0.5 * canvas.pareto(2.2), 5)
            tilt = canvas.uniform(0, 2 * np.pi) if turn is None else turn + canvas.normal(0, 0.1)
            u, v = np.cos(k), aspect * np.sin(k)
            ring = np.stack(
                [u * np.cos(tilt) - v * np.sin(tilt), u * np.sin(tilt) + v * np.cos(tilt)], -1
            )
            for step in range(5 if shade else 1):
                at = np.array([cx, cy]) - step * r * 0.06 + r * (1 - 0.2 * step) * ring
                rim = as_colour(mixer.background * 0.5) if edge and step == 0 else None
                draw.polygon(
                    [(float(a), float(b)) for a, b in at],
                    fill=as_colour(colour + 22 * step),
                    outline=rim,
                )
        return image

    return paint


def dots(rng: Generator) -> Painter:
    """Pointillism: round touches of one size on a drifting ground."""
    mixer = Mixer(rng)
    radius, cover = rng.uniform(1.5, 8), rng.uniform(0.5, 2.2)
    spread = rng.uniform(0.05, 0.4)

    def paint(canvas: Generator, size: int) -> Image.Image:
        image, draw = _blank(mixer, size)
        x, y = _starts(canvas, int(cover * size**2 / (3 * radius**2 + 3)), size, radius)
        for cx, cy, colour in zip(x, y, mixer.pick(canvas, size, x, y), strict=True):
            r = radius * np.exp(canvas.normal(0, spread))
            draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=as_colour(colour))
        return image

    return paint


def scribbles(rng: Generator) -> Painter:
    """Endless wandering lines."""
    mixer = Mixer(rng)
    step, bend, width = rng.uniform(3, 9), rng.uniform(0.15, 0.9), rng.uniform(1, 4.5)
    count = int(rng.uniform(6, 40))

    def paint(canvas: Generator, size: int) -> Image.Image:
        image, draw = _blank(mixer, size)
        x, y = _starts(canvas, count, size, 0)
        for cx, cy, colour in zip(x, y, mixer.pick(canvas, size, x, y), strict=True):
            turn = np.convolve(canvas.normal(0, bend, 260), np.ones(5) / 2.2, "same")
            angle = canvas.uniform(0, 2 * np.pi) + np.cumsum(turn)
            px, py = cx + step * np.cumsum(np.cos(angle)), cy + step * np.cumsum(np.sin(angle))
            path = [
                (float(a % (2 * size)), float(b % (2 * size))) for a, b in zip(px, py, strict=True)
            ]
            for p, q in itertools.pairwise(path):
                if abs(p[0] - q[0]) + abs(p[1] - q[1]) < size:
                    draw.line([p, q], fill=as_colour(colour), width=round(width))
        return image

    return paint
