"""`nst test`: `caffe test`, the mean outputs of a net over some batches."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nst.cli.caffe_flags import (
    add_caffe_flag,
    add_device_flags,
    add_state_flags,
    names,
)
from nst.cli.trained_net import open_trained_net
from nst.errors import UsageError
from nst.pycaffe import Net


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("test", help="score a net on the data that its test phase reads")
    add_caffe_flag(parser, "model", type=Path, required=True, metavar="NET", help="a prototxt file")
    add_caffe_flag(
        parser,
        "weights",
        type=names,
        required=True,
        metavar="FILE|NAME,...",
        help="a caffemodel, an HDF5 file, or the name of a known model",
    )
    add_caffe_flag(parser, "iterations", type=int, default=50, metavar="N", help="default: 50")
    add_state_flags(parser)
    add_device_flags(parser)
    parser.add_argument("--allow-python", action="store_true", help="let PYTHON layers run code")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the outputs of every batch, then their means. Raises NstError."""
    if args.iterations < 1:
        raise UsageError(f"--iterations: must be at least 1 (got {args.iterations})")
    net, reason = open_trained_net(args)
    print(f"net '{net.name}', {args.iterations} iterations on {reason}")
    sums: dict[str, NDArray[np.float64]] = {}
    total = 0.0
    for batch in range(args.iterations):
        total += net.forward_from_to()
        for name in net.outputs:
            values: NDArray[np.float64] = np.array(net.blobs[name].to_host(), np.float64).ravel()
            sums[name] = sums[name] + values if name in sums else values
            for value in values:
                print(f"Batch {batch}, {name} = {value:.6g}")
    print(f"Loss: {total / args.iterations:.6g}")
    for name, summed in sums.items():
        for index, value in enumerate(summed / args.iterations):
            print(f"{name} = {value:.6g}{_as_loss(net, name, index, value)}")
    return 0


def _as_loss(net: Net, name: str, index: int, value: float) -> str:
    """Behind a loss its weight, which is the diff of its blob, and what it adds."""
    if name not in net.loss_terms():
        return ""
    weight = float(net.blobs[name].diff_to_host().ravel()[index])
    return f" (* {weight:.6g} = {weight * value:.6g} loss)"
