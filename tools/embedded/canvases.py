"""Texture classes: which family each belongs to, and its canvases, all from seeds.

    python tools/embedded/canvases.py out/embedded/textures.png

shows a corner of the first canvas of some classes on one sheet; `tiles.py` makes the training set.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import marks
import numpy as np
import paints
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
    *[paints.currents] * 2,
    paints.smears,
    paints.knife,
    paints.washes,
    paints.tesserae,
    paints.fur,
    paints.spots,
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


def contact_sheet(classes: int, columns: int, tile: int) -> Image.Image:
    """A corner of the first canvas of each class, in rows."""
    sheet = Image.new("RGB", (columns * tile, -(-classes // columns) * tile))
    for k in range(classes):
        corner = Image.fromarray(draw_class(k, 1, 320)[0, :tile, :tile])
        sheet.paste(corner, (k % columns * tile, k // columns * tile))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--classes", type=int, default=2 * len(FAMILIES))
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--tile", type=int, default=120)
    options = parser.parse_args()
    contact_sheet(options.classes, options.columns, options.tile).save(options.sheet)


if __name__ == "__main__":
    main()
