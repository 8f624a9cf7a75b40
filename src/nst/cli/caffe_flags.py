"""Caffe's spellings of flags: `-solver`, `--solver`, `--sigint_effect` all mean `--sigint-effect`'s kind."""

from __future__ import annotations

import argparse
from typing import Any

from nst.errors import UsageError
from nst.pycaffe.mode import set_device


def add_caffe_flag(group: argparse._ActionsContainer, name: str, **options: Any) -> None:
    """Adds `--some-name`, also as `--some_name`, `-some_name` and `-some-name`, as gflags took them."""
    spellings = [f"--{name}", f"-{name}"]
    if "-" in name:
        spellings += [f"--{name.replace('-', '_')}", f"-{name.replace('-', '_')}"]
    group.add_argument(*spellings, **options)


def add_device_flags(group: argparse._ActionsContainer) -> None:
    """`--backend`, `--threads`, and Caffe's `-gpu`."""
    group.add_argument(
        "--backend", default="auto", metavar="NAME", help="auto, numpy, cpu or cuda; see `nst info`"
    )
    group.add_argument("--threads", type=int, metavar="N", help="of the cpu backend; default: all")
    add_caffe_flag(
        group, "gpu", metavar="ID", help="Caffe's: --backend cuda on the GPU of that number"
    )


def apply_gpu_flag(args: argparse.Namespace) -> None:
    """Turns `-gpu ID` into the cuda backend. Raises UsageError for several GPUs."""
    if args.gpu is None:
        return
    if not args.gpu.isdigit():
        raise UsageError(f"--gpu: one GPU by its number (got {args.gpu!r}, expected 0, 1, ...)")
    set_device(int(args.gpu))
    args.backend = "cuda"


def add_state_flags(group: argparse._ActionsContainer) -> None:
    """`--level` and `--stage`, which choose layers."""
    add_caffe_flag(
        group, "level", type=int, default=0, metavar="N", help="level of the net's state"
    )
    add_caffe_flag(
        group,
        "stage",
        type=names,
        default=[],
        metavar="NAME,...",
        help="stages of the net's state",
    )


def names(text: str) -> list[str]:
    """Names separated by commas."""
    return [name for name in text.split(",") if name]
