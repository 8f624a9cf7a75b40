"""The content picture: a town, a viaduct and mountains at a lake in the evening."""

from __future__ import annotations

import numpy as np
from numpy.random import default_rng
from PIL import Image

from pictures.canvas import Array, Canvas, gradient, mix, noise, smooth
from pictures.foreground import bank, boat, tree
from pictures.town import church, quay, row_of_houses, viaduct

WIDTH, HEIGHT, SCALE, SEED = 640, 448, 3, 14
SHORE = 284.0
SUN = (196.0, 118.0)
HAZE = (226.0, 196.0, 176.0)


def draw_lake() -> Image.Image:
    return paint_lake(Canvas(WIDTH, HEIGHT, SCALE))


def draw_sky_mask() -> Image.Image:
    """White where the sky is seen: what nothing was painted over."""
    empty = Canvas(WIDTH, HEIGHT, SCALE)
    sky(empty, default_rng(SEED))
    painted = Canvas(WIDTH, HEIGHT, SCALE)
    paint_lake(painted)
    is_sky = (painted.pixels() == empty.pixels()).all(axis=2)
    large = Image.fromarray((255 * is_sky).astype(np.uint8))
    return large.resize((WIDTH, HEIGHT), Image.Resampling.BOX)


def paint_lake(canvas: Canvas) -> Image.Image:
    rng = default_rng(SEED)
    sky(canvas, rng)
    for peak, rough, colour, snow in (
        (150, 46, (122.0, 134.0, 166.0), True),
        (196, 30, (98.0, 112.0, 138.0), False),
        (232, 20, (76.0, 100.0, 96.0), False),
    ):
        range_of_hills(canvas, rng, peak, rough, colour, snow)
    woods(canvas, rng)
    row_of_houses(canvas, rng, 20, 372, SHORE - 22, 0.72)
    church(canvas, 232, SHORE - 16)
    row_of_houses(canvas, rng, 6, 392, SHORE - 4, 1.0)
    viaduct(canvas, rng, 388, WIDTH + 40, SHORE - 74, SHORE)
    quay(canvas, rng, 0, 396, SHORE)
    water(canvas, rng)
    boat(canvas, 196, 346, 1.25)
    boat(canvas, 338, 312, 0.6)
    bank(canvas, rng, WIDTH, HEIGHT)
    tree(canvas, rng, 606, 414, 205)
    return canvas.finished()


def sky(canvas: Canvas, rng: np.random.Generator) -> None:
    """Blue above, peach at the horizon, a low sun, long clouds lit from below."""
    x, y = canvas.grid()
    stops = [
        (0, (64, 104, 160)),
        (110, (128, 164, 196)),
        (190, (240, 208, 170)),
        (280, (252, 190, 138)),
    ]
    pixels = gradient(y, stops)
    far = np.hypot(x - SUN[0], (y - SUN[1]) * 1.15)
    glow = np.exp(-far / 70)[..., None]
    pixels += glow * (np.array([255, 226, 160]) - pixels) * 0.8
    shape = canvas.noise(rng, 1.7, 2.6)
    cover = (
        smooth(0.0, 1.4, shape + 0.4 * np.sin(y / 21)) * smooth(-10, 40, y) * smooth(230, 120, y)
    )
    below = np.roll(shape, -10 * canvas.scale // 2, 0)
    light = smooth(-0.5, 0.7, shape - below)[..., None]
    cloud = np.array([164, 154, 178]) * (1 - light) + np.array([255, 224, 194]) * light
    pixels += cover[..., None] * 0.85 * (cloud - pixels)
    disc = smooth(15.5, 14.5, far)[..., None]
    canvas.put(pixels + disc * (np.array([255, 246, 214]) - pixels))


def range_of_hills(
    canvas: Canvas,
    rng: np.random.Generator,
    peak: float,
    rough: float,
    colour: tuple[float, float, float],
    snow: bool,
) -> None:
    """A ridge with facets: slopes that face the sun are warm, the others blue, haze at the foot."""
    x, y = canvas.grid()
    ridge = peak + rough * np.interp(x[0], np.arange(WIDTH) + 0.5, noise(rng, (WIDTH,), 1.45))
    depth = y - ridge
    wander = canvas.noise(rng, 1.8)
    at = x + 0.55 * depth * np.sin(1.4 * wander) + 5 * wander
    slope = np.gradient(_smoothed(ridge, 5 * canvas.scale)) * canvas.scale
    facing = np.interp(at, x[0], -slope)
    light = np.clip(0.5 + 0.9 * facing / (np.std(slope) + 1e-9) * 0.5, 0, 1)[..., None]
    shade, warm = (
        np.array(mix(colour, (54, 66, 106), 0.45)),
        np.array(mix(colour, (246, 196, 150), 0.45)),
    )
    pixels = shade + light * (warm - shade)
    if snow:
        cap = smooth(34, 12, depth + 16 * wander)[..., None]
        white = np.array([168, 182, 216]) + light * (
            np.array([255, 238, 222]) - np.array([168, 182, 216])
        )
        pixels += cap * (white - pixels)
    mist = (smooth(0, 120, depth) * 0.6)[..., None]
    pixels += mist * (np.array(HAZE) - pixels)
    canvas.put(np.where((depth > 0)[..., None], pixels, canvas.pixels()))


def _smoothed(line: Array, width: int) -> Array:
    padded = np.pad(line, width, mode="edge")
    return np.convolve(padded, np.ones(2 * width + 1) / (2 * width + 1), "valid")


def woods(canvas: Canvas, rng: np.random.Generator) -> None:
    """A wooded slope behind the town, crown by crown, light on their sunny side."""
    rise = noise(rng, (WIDTH + 1,), 1.5)
    for level in np.linspace(0, 1, 15):
        for x in np.arange(-5, WIDTH + 5, 5.5):
            x = float(x + rng.normal(0, 2))
            top = 236 + 8 * rise[int(np.clip(x, 0, WIDTH))]
            y = top + level * (SHORE + 4 - top) + rng.normal(0, 1.6)
            r = rng.uniform(3, 5.2) * (0.75 + 0.5 * level)
            green = mix((54, 74, 58), (104, 112, 58), float(rng.uniform()))
            for step, tone in enumerate((0.62, 1.0, 1.4)):
                canvas.ellipse(
                    x - 0.9 * step,
                    float(y) - 1.1 * step,
                    r * (1 - 0.27 * step),
                    1.15 * r * (1 - 0.27 * step),
                    tuple(tone * c for c in green),
                )


def water(canvas: Canvas, rng: np.random.Generator) -> None:
    """Mirrors what stands above the shore, breaks it with waves and darkens it towards the viewer."""
    x, y = canvas.grid()
    pixels, scale = canvas.pixels(), canvas.scale
    below = np.maximum(y - SHORE, 0)
    near = below / (HEIGHT - SHORE)
    waves = canvas.noise(rng, 1.35, 7.0)
    swell = np.sin(4.6 * np.sqrt(below + 1) + 0.6 * waves)
    row = SHORE - 0.98 * below + (0.4 + 5 * near) * waves
    column = x + (0.6 + 7 * near) * waves * 0.5 + (0.5 + 2 * near) * swell
    rows = np.clip((row * scale).astype(int), 0, int(SHORE * scale) - 1)
    columns = np.clip((column * scale).astype(int), 0, x.shape[1] - 1)
    mirrored = pixels[rows, columns]
    deep = np.array([38, 74, 100])
    share = (0.16 + 0.5 * near + 0.10 * smooth(0, 1.5, waves))[..., None]
    surface = mirrored * 0.95 + share * (deep - mirrored)
    path = np.exp(-(((x - SUN[0]) / (10 + 60 * near)) ** 2))
    glint = smooth(0.75, 1.5, waves + 0.5 * swell) * (0.28 + 0.65 * path)
    surface += glint[..., None] * (np.array([255, 226, 178]) - surface)
    canvas.put(np.where((y > SHORE)[..., None], surface, pixels))
