"""Draws the training pictures: N texture classes, a few canvases of each, all from seeds.

    python tools/embedded/canvases.py out/canvases.npy --classes 384 --canvases 4

The array is uint8 (classes, canvases, size, size, 3), RGB. The last canvas of each class is never
trained on. `--sheet` also writes a contact sheet.
"""

from __future__ import annotations

import argparse
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import marks
import numpy as np
import surfaces
from numpy.random import default_rng
from numpy.typing import NDArray
from PIL import Image, ImageFilter

FAMILIES = (
    *[marks.strokes] * 6,
    *[marks.dabs] * 4,
    *[marks.leaves] * 2,
    marks.hatching,
    marks.curls,
    marks.dots,
    marks.scribbles,
    surfaces.cells,
    surfaces.gratings,
    surfaces.lattice,
    surfaces.contours,
    surfaces.whorls,
    surfaces.noise,
    *[surfaces.patchwork] * 2,
)


def relief(image: Image.Image, angle: float, depth: float) -> Image.Image:
    """Lights thick paint from one side: the slope of the luminance brightens or darkens."""
    values = np.asarray(image, np.float32)
    gy, gx = np.gradient(values.mean(-1))
    light = depth * (gx * np.cos(angle) + gy * np.sin(angle))
    return surfaces.to_image(values + np.clip(light, -60, 60)[..., None])


def draw_class(index: int, canvases: int, size: int) -> NDArray[np.uint8]:
    """All canvases of one class; class `index` is the same at every call, whatever the others."""
    rng = default_rng([20, index])
    painter = FAMILIES[index % len(FAMILIES)](rng)
    blur = rng.choice([0, 0, 0.6, 0.9, 1.6])
    angle, depth = rng.uniform(0, 2 * np.pi), rng.choice([0, 0, 0.5, 1.2])
    drawn = []
    for number in range(canvases):
        image = painter(default_rng([21, index, number]), size)
        if depth:
            image = relief(image, angle, depth)
        if blur:
            image = image.filter(ImageFilter.GaussianBlur(float(blur)))
        drawn.append(np.asarray(image))
    return np.stack(drawn)


def contact_sheet(data: NDArray[np.uint8], columns: int = 16, tile: int = 128) -> Image.Image:
    """A corner of the first canvas of each class."""
    rows = -(-len(data) // columns)
    sheet = Image.new("RGB", (columns * tile, rows * tile))
    for k, canvases in enumerate(data):
        corner = Image.fromarray(canvases[0, :tile, :tile])
        sheet.paste(corner, (k % columns * tile, k // columns * tile))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--classes", type=int, default=384)
    parser.add_argument("--canvases", type=int, default=4)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    draw = partial(draw_class, canvases=arguments.canvases, size=arguments.size)
    with Pool(arguments.processes) as pool:
        data = np.stack(pool.map(draw, range(arguments.classes), chunksize=4))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    np.save(arguments.output, data)
    if arguments.sheet:
        contact_sheet(data).save(arguments.sheet)


if __name__ == "__main__":
    main()
