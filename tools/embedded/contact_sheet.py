"""Paints every pair of pictures with every candidate's weights, and puts the paintings on one sheet.

    python tools/embedded/contact_sheet.py out/sheet --pair A.jpg B.jpg \\
        --candidate new=out/candidate.caffemodel \\
        --candidate real=squeezenet_v1.0/net_deep_compression.prototxt:FILE.caffemodel

One row per pair: content, style, then a painting per candidate, by the job of the candidate's model
(`quickstart` unless one is named before a colon) or by `--preset`. Paintings that are there are not
made again, so that a sheet can grow by a candidate. Writes CONTENT_STYLE_NAME.png and sheet.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import nst

MODELS = Path(__file__).resolve().parents[2] / "models"
GAP, CAPTION = 6, 14


def paint(content: Path, style: Path, candidate: str, job: dict[str, Any]) -> NDArray[np.uint8]:
    """A painting; `candidate` is WEIGHTS or MODEL:WEIGHTS or MODEL/NET.prototxt:WEIGHTS."""
    place, _, weights = candidate.rpartition(":")
    model, _, net = place.partition("/")
    folder = MODELS / (model or "quickstart")
    result = nst.style_transfer(
        str(content),
        str(style),
        solver=folder / "solver.prototxt",
        net=str(folder / (net or "net.prototxt")),
        weights=weights,
        **job,
    )
    return result.image


def column(pictures: list[Image.Image], caption: str, heights: list[int]) -> Image.Image:
    """Pictures of one candidate below each other, each at its row's height, the name on top."""
    fitted = [
        picture.resize(
            (round(picture.width * height / picture.height), height), Image.Resampling.LANCZOS
        )
        for picture, height in zip(pictures, heights, strict=True)
    ]
    width = max(picture.width for picture in fitted)
    sheet = Image.new("RGB", (width, CAPTION + sum(heights) + GAP * len(heights)), "white")
    ImageDraw.Draw(sheet).text((2, 1), caption, fill="black")
    top = CAPTION
    for picture in fitted:
        sheet.paste(picture, (0, top))
        top += picture.height + GAP
    return sheet


def beside(columns: list[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (sum(c.width + GAP for c in columns), columns[0].height), "white")
    left = 0
    for part in columns:
        sheet.paste(part, (left, 0))
        left += part.width + GAP
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pair", nargs=2, type=Path, action="append", required=True)
    parser.add_argument(
        "--candidate", action="append", required=True, metavar="NAME=[MODEL[/NET]:]WEIGHTS"
    )
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--preset", help="paint by this preset, not by the models' own jobs")
    options = parser.parse_args()
    job = {"size": options.size, "random_seed": 1}
    if options.preset:
        job["preset"] = options.preset
    options.folder.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list[Image.Image]] = {"content": [], "style": []}
    for content, style in options.pair:
        columns["content"].append(Image.open(content).convert("RGB"))
        columns["style"].append(Image.open(style).convert("RGB"))
        for entry in options.candidate:
            name, _, candidate = entry.partition("=")
            path = options.folder / f"{content.stem}_{style.stem}_{name}.png"
            if not path.exists():
                Image.fromarray(paint(content, style, candidate, job)).save(path)
            columns.setdefault(name, []).append(Image.open(path))
    heights = [picture.height for picture in columns[options.candidate[0].partition("=")[0]]]
    parts = [column(pictures, name, heights) for name, pictures in columns.items()]
    beside(parts).save(options.folder / "sheet.png")


if __name__ == "__main__":
    main()
