"""`nst extract`: the values of blobs, for every batch that a net reads, as Caffe's extract_features."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import h5py
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from nst.cli.caffe_flags import (
    add_caffe_flag,
    add_device_flags,
    add_state_flags,
    names,
)
from nst.cli.database import RecordWriter, import_lmdb
from nst.cli.trained_net import open_trained_net
from nst.errors import NetError, UsageError, did_you_mean
from nst.io.atomic import write_atomically
from nst.proto import Datum
from nst.pycaffe import Net

Batch = dict[str, NDArray[np.float32]]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "extract",
        help="write the values of blobs, for the data that a net reads",
        description="Runs the test phase of a net whose data layers feed it, and writes blobs: to an HDF5 "
        "file, one array (examples, ...) per blob, or to a folder of LMDB databases, one per blob.",
    )
    add_caffe_flag(parser, "model", type=Path, required=True, metavar="NET", help="a prototxt file")
    add_caffe_flag(
        parser,
        "weights",
        type=names,
        required=True,
        metavar="FILE|NAME,...",
        help="a caffemodel, an HDF5 file, or the name of a known model",
    )
    add_caffe_flag(
        parser, "blobs", type=names, required=True, metavar="NAME,...", help="the blobs to write"
    )
    add_caffe_flag(
        parser, "iterations", type=int, default=1, metavar="N", help="batches to run; default: 1"
    )
    parser.add_argument(
        "target", type=Path, metavar="OUT", help=".h5 for HDF5, else a folder of LMDB"
    )
    add_state_flags(parser)
    add_device_flags(parser)
    parser.add_argument("--allow-python", action="store_true", help="let PYTHON layers run code")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs and writes. Raises NstError."""
    if args.iterations < 1:
        raise UsageError(f"--iterations: must be at least 1 (got {args.iterations})")
    is_hdf5 = args.target.suffix in (".h5", ".hdf5")
    if not is_hdf5:
        import_lmdb()
    net, reason = open_trained_net(args)
    _check_blobs(net, args.blobs)
    print(f"net '{net.name}', {args.iterations} iterations on {reason}")
    batches = _batches(net, args.blobs, args.iterations)
    count = _write_hdf5(args.target, batches) if is_hdf5 else _write_lmdb(args.target, batches)
    print(f"wrote {args.target}: {', '.join(args.blobs)} of {count} examples")
    return 0


def _check_blobs(net: Net, wanted: list[str]) -> None:
    for name in wanted:
        if name not in net.blobs:
            raise NetError(f"no blob '{name}' in net '{net.name}'.{did_you_mean(name, net.blobs)}")


def _batches(net: Net, wanted: list[str], iterations: int) -> Iterator[Batch]:
    console = Console(stderr=True)
    quiet = not console.is_terminal
    for _ in track(range(iterations), console=console, transient=True, disable=quiet):
        net.forward_from_to()
        yield {name: np.array(net.blobs[name].to_host(), np.float32) for name in wanted}


def _write_hdf5(path: Path, batches: Iterator[Batch]) -> int:
    count = 0

    def write(file: IO[bytes]) -> None:
        nonlocal count
        with h5py.File(file, "w") as target:
            for batch in batches:
                for name, values in batch.items():
                    _append(target, name, np.atleast_1d(values))
                count += len(np.atleast_1d(next(iter(batch.values()))))

    write_atomically(path, write)
    return count


def _append(target: h5py.File, name: str, values: NDArray[np.float32]) -> None:
    if name not in target:
        target.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]))
        return
    dataset = target[name]
    dataset.resize(len(dataset) + len(values), axis=0)
    dataset[-len(values) :] = values


def _write_lmdb(folder: Path, batches: Iterator[Batch]) -> int:
    """One database per blob, a Datum of floats per example, keys counting from 0 in ten digits."""
    writers: dict[str, RecordWriter] = {}
    count = 0
    try:
        for batch in batches:
            for name, values in batch.items():
                if name not in writers:
                    writers[name] = RecordWriter(folder / name.replace("/", "_"))
                for number, example in enumerate(np.atleast_1d(values)):
                    writers[name].put(f"{count + number:010d}", _datum(example))
            count += len(np.atleast_1d(next(iter(batch.values()))))
    finally:
        for writer in writers.values():
            writer.__exit__(None, None, None)
    return count


def _datum(example: NDArray[np.float32]) -> bytes:
    channels, height, width = (*example.shape, 1, 1, 1)[:3]
    if example.ndim > 3:
        channels, height, width = example.size, 1, 1
    datum = Datum(channels=channels, height=height, width=width)
    datum.float_data.extend(example.ravel().tolist())
    return datum.SerializeToString()
