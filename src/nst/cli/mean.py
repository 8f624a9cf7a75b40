"""`nst mean`: the mean picture of a data set, as Caffe's compute_image_mean."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from nst.cli.database import count_records, records
from nst.cli.picture_list import read_picture_list, read_values
from nst.errors import FileError, ShapeError
from nst.io.binaryproto import write_binaryproto
from nst.layers.sources.database import decode_datum


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "mean",
        help="mean picture and mean colour of a data set",
        description="Prints the mean of every channel, for mean_value, and writes the mean picture, for "
        "mean_file. All pictures must have one size.",
    )
    parser.add_argument(
        "source", type=Path, metavar="DB|LIST", help="an LMDB database, or lines of 'path label'"
    )
    parser.add_argument("target", type=Path, nargs="?", metavar="OUT.binaryproto")
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the pictures of LIST")
    for side in ("width", "height"):
        parser.add_argument(
            f"--resize-{side}",
            type=int,
            default=0,
            metavar="N",
            help=f"{side} that pictures of LIST are resized to",
        )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Adds up, prints, writes. Raises NstError."""
    count, pictures = _pictures(args)
    if not count:
        raise FileError("holds no pictures", path=str(args.source))
    total: NDArray[np.float64] | None = None
    console = Console(stderr=True)
    shown = track(
        pictures, total=count, console=console, transient=True, disable=not console.is_terminal
    )
    for number, values in enumerate(shown):
        if total is None:
            total = np.zeros(values.shape, np.float64)
        if values.shape != total.shape:
            raise ShapeError(
                f"picture {number}: another size (got {values.shape}, expected {total.shape})"
            )
        total += values
    assert total is not None  # there is at least one
    mean = total / count
    for channel, value in enumerate(mean.mean(axis=(1, 2))):
        print(f"mean_value channel [{channel}]: {value:.6g}")
    if args.target is not None:
        write_binaryproto(args.target, mean[np.newaxis].astype(np.float32))
        print(f"wrote {args.target} ({count} pictures)")
    return 0


def _pictures(args: argparse.Namespace) -> tuple[int, Iterator[NDArray[Any]]]:
    """How many there are, and each as (C, H, W)."""
    source = args.source
    if source.is_dir():
        return count_records(source), (decode_datum(r, None, layer="")[0] for r in records(source))
    entries = read_picture_list(source)
    size = (args.resize_height, args.resize_width)
    return len(entries), (
        read_values(args.root / name, gray=False, size=size) for name, _ in entries
    )
