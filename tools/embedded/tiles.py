"""Draws the training pictures and cuts them into tiles: HDF5 files that the HDF5Data layers read.

    python tools/embedded/tiles.py out/tiles

writes `train_00.h5` ..., `test_00.h5`, and the lists `train.txt` and `test.txt`. Data sets: `tile`
(n, 3, side, side) uint8 BGR, `tile_label` (n,). A tile is a square of a canvas, shrunk 1 to 2 times. The
last canvas of each class gives the test tiles and nothing else. The files are the same at every run, on
any number of processes.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import h5py
import numpy as np
from canvases import draw_class
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from PIL import Image

from nst.io.atomic import write_atomically

Tiles = NDArray[np.uint8]
SHRINK = 2.0
"""A tile shows up to so many times its side."""


@dataclass(frozen=True)
class Plan:
    """How much is drawn: `files` of `per_file` tiles of every class."""

    classes: int = 384
    canvases: int = 3
    canvas_side: int = 320
    side: int = 96
    files: int = 32
    per_file: int = 2
    test_per_class: int = 4


def cut(rng: Generator, canvas: Tiles, side: int) -> Tiles:
    """One tile (3, side, side), BGR, of a random scale and place."""
    window = min(int(side * SHRINK ** rng.uniform()), canvas.shape[0])
    y, x = (int(k) for k in rng.integers(canvas.shape[0] - window + 1, size=2))
    picture = Image.fromarray(canvas[y : y + window, x : x + window])
    small = picture.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(small).transpose(2, 0, 1)[::-1]


def class_tiles(index: int, plan: Plan) -> tuple[Tiles, Tiles]:
    """Tiles of one class: (train files * per_file, 3, side, side), and (per_file, ...) for the test."""
    canvases = draw_class(index, plan.canvases, plan.canvas_side)
    rng = default_rng([22, index])
    count = plan.files * plan.per_file
    train = [cut(rng, canvases[k % (plan.canvases - 1)], plan.side) for k in range(count)]
    test = [cut(rng, canvases[-1], plan.side) for _ in range(plan.test_per_class)]
    return np.stack(train), np.stack(test)


def write(folder: Path, plan: Plan, processes: int) -> None:
    """Row `k * classes + c` of a file is tile k of class c, so that the first rows have every class."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"train_{k:02}.h5" for k in range(plan.files)]
    files = [_start(folder / name, plan, plan.per_file) for name in names]
    test = _start(folder / "test_00.h5", plan, plan.test_per_class)
    with Pool(processes) as pool:
        drawn = pool.imap(partial(class_tiles, plan=plan), range(plan.classes), chunksize=4)
        for label, (tiles, test_tiles) in enumerate(drawn):
            for file, part in zip(files, np.split(tiles, plan.files), strict=True):
                file["tile"][label :: plan.classes] = part
            test["tile"][label :: plan.classes] = test_tiles
    for file in (*files, test):
        file.close()
    write_atomically(folder / "train.txt", _list(folder, names))
    write_atomically(folder / "test.txt", _list(folder, ["test_00.h5"]))


def _start(path: Path, plan: Plan, per_class: int) -> h5py.File:
    file = h5py.File(path, "w")
    rows = per_class * plan.classes
    file.create_dataset("tile", (rows, 3, plan.side, plan.side), np.uint8)
    file["tile_label"] = np.tile(np.arange(plan.classes, dtype=np.float32), per_class)
    return file


def _list(folder: Path, names: list[str]) -> bytes:
    return "".join(f"{folder / name}\n" for name in names).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    for field in fields(Plan):
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(flag, type=int, default=field.default, help=f"default: {field.default}")
    parser.add_argument("--processes", type=int, default=2)
    options = vars(parser.parse_args())
    folder, processes = options.pop("folder"), options.pop("processes")
    write(folder, Plan(**options), processes)


if __name__ == "__main__":
    main()
