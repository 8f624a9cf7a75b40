"""Texture families that look like paint: smears, currents, knife work, washes, mosaics, fur, spots."""

from __future__ import annotations

import numpy as np
from colours import Mixer, as_colour, palette
from fields import Array, Field, look_up, power_noise, random_field, trace
from marks import Painter
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter


def _canvas(mixer: Mixer, size: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (size, size), as_colour(mixer.background))
    return image, ImageDraw.Draw(image)


def _picture(values: Array) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _pixels(size: int) -> tuple[Array, Array]:
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    return x, y


def _quad(
    draw: ImageDraw.ImageDraw, centre: Array, along: Array, across: Array, tone: Array
) -> None:
    corners = [
        centre + along + across,
        centre + along - across,
        centre - along - across,
        centre - along + across,
    ]
    draw.polygon([(float(x), float(y)) for x, y in corners], fill=as_colour(tone))


def smears(rng: Generator) -> Painter:
    """Wet paint drawn out along an orientation field: line integral convolution of coloured noise."""
    colours, field = palette(rng, int(rng.integers(3, 7))), random_field(rng)
    steps, grain, contrast = int(rng.integers(6, 22)), rng.uniform(0.3, 1.6), rng.uniform(0.8, 1.6)

    def paint(canvas: Generator, size: int) -> Image.Image:
        x, y = _pixels(size)
        angle = field(canvas, size)(x.ravel(), y.ravel()).reshape(size, size)
        dx, dy = np.cos(angle), np.sin(angle)
        total = np.zeros((size, size))
        noise = power_noise(canvas, size, grain)
        for sign in (-1, 1):
            px, py = x.copy(), y.copy()
            for _ in range(steps):
                total += look_up(noise, px, py)
                ux, uy = look_up(dx, px, py), look_up(dy, px, py)
                px, py = px + sign * ux, py + sign * uy
        drift = power_noise(canvas, size, 2.4)
        level = 0.5 + contrast * (0.16 * total / total.std() + 0.16 * drift)
        place = np.clip(level, 0, 1) * (len(colours) - 1)
        low = np.minimum(place.astype(int), len(colours) - 2)
        share = (place - low)[..., None]
        return _picture(colours[low] * (1 - share) + colours[low + 1] * share)

    return paint


def currents(rng: Generator) -> Painter:
    """Strokes that run along the level lines of a smooth height, coloured in bands of that height."""
    mixer, swirls = Mixer(rng), rng.uniform() < 0.6
    length, width = rng.uniform(8, 34), rng.uniform(2, 7)
    bands, exponent, count = rng.uniform(1.5, 7), rng.uniform(2.4, 3.2), int(rng.integers(2, 7))
    scatter, cover = rng.uniform(0, 0.12), rng.uniform(1.8, 3.2)

    def paint(canvas: Generator, size: int) -> Image.Image:
        height = _swirls(canvas, size, count) if swirls else power_noise(canvas, size, exponent)
        gy, gx = np.gradient(height)
        field: Field = lambda x, y: np.arctan2(look_up(gx, x, y), -look_up(gy, x, y))  # noqa: E731
        image, draw = _canvas(mixer, size)
        n = int(cover * size**2 / (length * width + 15))
        x, y = canvas.uniform(-length / 2, size + length / 2, (2, n))
        paths = trace(field, x, y, length * canvas.uniform(0.6, 1.4, n), 5)
        level = look_up(height, x, y) * bands / 3 + canvas.normal(0, scatter + 1e-6, n)
        index = (np.abs((level % 2) - 1) * len(mixer.colours)).astype(int) % len(mixer.colours)
        tones = mixer.colours[index] + canvas.normal(0, mixer.scatter, (n, 1))
        for path, tone in zip(paths, tones, strict=True):
            w = max(1, round(width * canvas.uniform(0.6, 1.3)))
            draw.line(
                [(float(a), float(b)) for a, b in path],
                fill=as_colour(tone),
                width=w,
                joint="curve",
            )
        return image

    return paint


def _swirls(canvas: Generator, size: int, count: int) -> Array:
    """A height of smooth noise with a few round hills on it."""
    x, y = _pixels(size)
    height = 0.7 * power_noise(canvas, size, 3.0)
    for _ in range(count):
        cx, cy, reach = canvas.uniform(0, size), canvas.uniform(0, size), canvas.uniform(25, 80)
        height += canvas.choice([-2.5, 2.5]) * np.exp(-np.hypot(x - cx, y - cy) / reach)
    return height


def knife(rng: Generator) -> Painter:
    """Broad flat touches of a palette knife, lighter towards one edge."""
    mixer, field = Mixer(rng), random_field(rng)
    long, wide, tilt = rng.uniform(8, 26), rng.uniform(5, 14), rng.uniform(-40, 40)
    cover, turn = rng.uniform(1.5, 3), rng.uniform(0, 0.4)

    def paint(canvas: Generator, size: int) -> Image.Image:
        image, draw = _canvas(mixer, size)
        n = int(cover * size**2 / (2 * long * wide))
        x, y = canvas.uniform(-long, size + long, (2, n))
        angles = field(canvas, size)(x, y) + canvas.normal(0, turn + 1e-6, n)
        for cx, cy, angle, tone in zip(x, y, angles, mixer.pick(canvas, size, x, y), strict=True):
            scale = canvas.uniform(0.5, 1.3)
            along = np.array([np.cos(angle), np.sin(angle)]) * long * scale / 2
            across = np.array([-np.sin(angle), np.cos(angle)]) * wide * scale / 2
            for k in range(4):
                shift = across * (k - 1.5) / 2
                _quad(
                    draw,
                    np.array([cx, cy]) + shift,
                    along,
                    across / 4 * 1.1,
                    tone + tilt * (k - 1.5) / 2,
                )
        return image

    return paint


def washes(rng: Generator) -> Painter:
    """Watercolour: translucent shapes over paper, darker where their edges dried."""
    colours, paper = palette(rng, int(rng.integers(3, 7))), rng.uniform(190, 250)
    exponent, cut = rng.uniform(1.9, 2.8), rng.uniform(-0.2, 0.9)
    rim, alpha, tooth = rng.uniform(0, 0.5), rng.uniform(0.35, 0.8), rng.uniform(0, 10)

    def paint(canvas: Generator, size: int) -> Image.Image:
        image = np.full((size, size, 3), paper)
        for k in range(2 * len(colours)):
            above = power_noise(canvas, size, exponent) - cut
            density = alpha * (1 / (1 + np.exp(-above * 14)))
            density = density * (1 + rim * np.exp(-((above * 9) ** 2)))
            ink = colours[k % len(colours)] / 255
            image *= 1 - np.clip(density, 0, 1)[..., None] * (1 - ink)
            image += density[..., None] * 30 * ink
        return _picture(image + tooth * power_noise(canvas, size, 0.7)[..., None])

    return paint


def tesserae(rng: Generator) -> Painter:
    """Mosaic: little stones set along an orientation field, with mortar between them."""
    mixer, field = Mixer(rng), random_field(rng)
    stone, aspect, gap = rng.uniform(5, 16), rng.uniform(1, 2), rng.uniform(0.1, 0.3)

    def paint(canvas: Generator, size: int) -> Image.Image:
        image, draw = _canvas(mixer, size)
        steps = np.arange(-stone, size + stone, stone * 0.8)
        x, y = (g.ravel() for g in np.meshgrid(steps, steps))
        x, y = (
            x + canvas.normal(0, stone * 0.15, x.shape),
            y + canvas.normal(0, stone * 0.15, y.shape),
        )
        angles, tones = field(canvas, size)(x, y), mixer.pick(canvas, size, x, y)
        for k in canvas.permutation(len(x)):
            along = np.array([np.cos(angles[k]), np.sin(angles[k])])
            across = np.array([-along[1], along[0]]) * stone / 2
            centre = np.array([x[k], y[k]])
            _quad(draw, centre, along * stone * aspect / 2, across, mixer.background)
            _quad(
                draw, centre, along * stone * aspect / 2 * (1 - gap), across * (1 - gap), tones[k]
            )
        return image

    return paint


def fur(rng: Generator) -> Painter:
    """Tapered hairs, feathers or grass: wedges along a field, later ones lighter."""
    mixer, field = Mixer(rng), random_field(rng)
    length, width, rise = rng.uniform(12, 50), rng.uniform(2, 9), rng.uniform(-50, 60)
    cover, bend = rng.uniform(1.5, 3.5), rng.uniform(0, 0.3)

    def paint(canvas: Generator, size: int) -> Image.Image:
        image, draw = _canvas(mixer, size)
        n = int(cover * size**2 / (length * width / 2 + 10))
        x, y = canvas.uniform(-length, size + length, (2, n))
        paths = trace(field(canvas, size), x, y, length * canvas.uniform(0.5, 1.3, n), 3)
        paths[:, -1] += canvas.normal(0, bend * length + 1e-6, (n, 2)) * 0.4
        tones = mixer.pick(canvas, size, x, y) + rise * np.linspace(-0.5, 0.5, n)[:, None]
        for path, tone in zip(paths, tones, strict=True):
            ahead = path[1] - path[0]
            across = np.array([-ahead[1], ahead[0]]) / (np.hypot(*ahead) + 1e-9) * width / 2
            outline = [path[0] + across, path[1] + 0.8 * across, path[2] + 0.4 * across, path[3]]
            outline += [path[2] - 0.4 * across, path[1] - 0.8 * across, path[0] - across]
            draw.polygon([(float(a), float(b)) for a, b in outline], fill=as_colour(tone))
        return image

    return paint


def spots(rng: Generator) -> Painter:
    """Spots, labyrinths and stripes: levels of noise of one wavelength, as on hides and shells."""
    colours, wave, width = (
        palette(rng, int(rng.integers(2, 4))),
        rng.uniform(7, 30),
        rng.uniform(0.05, 0.35),
    )
    stretch, level, soft = rng.choice([1, 1, 1.6, 3]), rng.uniform(-0.9, 0.9), rng.uniform() < 0.3

    def paint(canvas: Generator, size: int) -> Image.Image:
        f = np.fft.fftfreq(size)
        radius = np.hypot(f[:, None] * stretch, f[None])
        ring = np.exp(-(((radius * wave - 1) / width) ** 2))
        noise = np.fft.ifft2(np.fft.fft2(canvas.normal(size=(size, size))) * ring).real
        noise /= noise.std() + 1e-9
        share = np.clip((noise - level) * (1.0 if soft else 6.0) + 0.5, 0, 1)[..., None]
        ground = colours[1]
        if len(colours) > 2:
            drift = np.clip(power_noise(canvas, size, 2.5) * 2 + 0.5, 0, 1)[..., None]
            ground = colours[1] * drift + colours[2] * (1 - drift)
        return _picture(colours[0] * share + ground * (1 - share)).filter(
            ImageFilter.GaussianBlur(0.5)
        )

    return paint
