"""`nst convert-imageset`: a list of labelled pictures to an LMDB database, as Caffe's tool does it."""

from __future__ import annotations

import argparse
import io
import random
import sys
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from nst.cli.caffe_flags import add_caffe_flag
from nst.cli.database import RecordWriter, import_lmdb
from nst.cli.outcome import RunFailed
from nst.cli.picture_list import datum_of, read_picture_list, read_values
from nst.errors import ImageError, UsageError
from nst.proto import Datum

_ENCODINGS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "convert-imageset",
        help="put a list of pictures with labels into an LMDB database",
        description="Reads LIST, lines of 'path label' with paths below ROOT, and writes the database DB "
        "for Data layers. Pictures that cannot be read are told and left out.",
    )
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of the pictures")
    parser.add_argument("list", type=Path, metavar="LIST", help="text file")
    parser.add_argument("target", type=Path, metavar="DB", help="folder to make")
    add_caffe_flag(parser, "gray", action="store_true", help="one channel")
    add_caffe_flag(parser, "shuffle", action="store_true", help="in random order")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of --shuffle; default: 0")
    for side in ("width", "height"):
        add_caffe_flag(
            parser,
            f"resize-{side}",
            type=int,
            default=0,
            metavar="N",
            help=f"{side} to resize to; 0, the default, leaves it",
        )
    add_caffe_flag(
        parser,
        "check-size",
        action="store_true",
        help="refuse pictures of another size than the first",
    )
    add_caffe_flag(parser, "encoded", action="store_true", help="store compressed pictures")
    add_caffe_flag(
        parser,
        "encode-type",
        choices=list(_ENCODINGS),
        default="png",
        help="how they are compressed; default: png",
    )
    add_caffe_flag(parser, "backend", choices=["lmdb"], default="lmdb", help="only lmdb")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Converts and prints the count. Raises NstError, RunFailed."""
    if (args.resize_width > 0) != (args.resize_height > 0) or args.resize_width < 0:
        raise UsageError(
            f"--resize-width, --resize-height: both or none (got {args.resize_width} and "
            f"{args.resize_height})"
        )
    import_lmdb()
    entries = read_picture_list(args.list)
    if args.shuffle:
        random.Random(args.seed).shuffle(entries)
    written, first = 0, None
    console = Console(stderr=True)
    with RecordWriter(args.target) as database:
        for number, (name, label) in enumerate(
            track(entries, console=console, transient=True, disable=not console.is_terminal)
        ):
            size = (args.resize_height, args.resize_width)
            try:
                values = read_values(args.root / name, gray=args.gray, size=size)
            except ImageError as error:
                print(f"nst convert-imageset: left out: {error}", file=sys.stderr)
                continue
            first = first or values.shape
            if args.check_size and values.shape != first:
                raise RunFailed(f"{name}: another size (got {values.shape}, expected {first})")
            database.put(f"{number:08d}_{name}", _record(values, label, args).SerializeToString())
            written += 1
    if not written:
        raise RunFailed(f"none of the {len(entries)} pictures could be read")
    print(f"wrote {args.target}: {written} of {len(entries)} pictures")
    return 0


def _record(values: NDArray[Any], label: int, args: argparse.Namespace) -> Datum:
    datum = datum_of(values, label)
    if not args.encoded:
        return datum
    pixels = values[0] if args.gray else values[::-1].transpose(1, 2, 0)  # B G R to R G B
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, _ENCODINGS[args.encode_type], quality=95)
    return Datum(data=buffer.getvalue(), label=label, encoded=True)
