"""`nst draw`: a net, or the augmented net of a solver file, as a picture through Graphviz."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
from pathlib import Path
from typing import Any

from nst.backend import get_backend
from nst.cli.augmented import augmented_net_of
from nst.cli.drawing import to_dot
from nst.errors import FileError, PrototxtError, UsageError, did_you_mean
from nst.io.atomic import write_atomically
from nst.io.prototxt import read_net, read_solver
from nst.net import Net, filter_layers, insert_splits
from nst.proto import TEST, TRAIN, NetParameter, NetState, SolverParameter
from nst.style.job import anchored
from nst.style.settings import with_preset

_FORMATS = ("svg", "png", "pdf", "dot")
_PHASES = {"train": TRAIN, "test": TEST, "all": None}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("draw", help="draw a net, or the augmented net of a style run")
    parser.add_argument("source", type=Path, metavar="NET|SOLVER", help="a prototxt file")
    parser.add_argument("target", type=Path, metavar="OUT", help="its suffix says the format")
    parser.add_argument("--format", choices=_FORMATS, help="instead of the suffix of OUT")
    parser.add_argument(
        "--augmented",
        action="store_true",
        help="SOLVER is a style run: draw the net that it builds, added layers coloured",
    )
    parser.add_argument(
        "--phase",
        "-phase",
        type=str.lower,
        choices=list(_PHASES),
        default="all",
        help="leave out layers that this phase does not have",
    )
    parser.add_argument("--splits", action="store_true", help="show the Split layers too")
    parser.add_argument("--shapes", action="store_true", help="write the shapes of blobs on arrows")
    parser.add_argument(
        "--rankdir",
        "-rankdir",
        type=str.upper,
        choices=("TB", "LR", "BT", "RL"),
        default="TB",
        help="direction of the drawing: from top to bottom, left to right, ...",
    )
    parser.add_argument(
        "--legend",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="explain the colours of an augmented net",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draws and writes. Raises NstError."""
    kind = args.format or args.target.suffix.lstrip(".").lower()
    if kind not in _FORMATS:
        raise UsageError(
            f"{args.target}: unknown format (got {kind!r}, expected one of {', '.join(_FORMATS)})."
            f"{did_you_mean(kind, _FORMATS)}"
        )
    _need_tools(kind)
    net = _net_of(args)
    shapes = _shapes(net) if args.shapes else None
    dot = to_dot(net, rankdir=args.rankdir, shapes=shapes, legend=args.augmented and args.legend)
    write_atomically(args.target, _rendered(dot, kind))
    print(f"wrote {args.target} ({len(net.layer)} layers)")
    return 0


def _need_tools(kind: str) -> None:
    if importlib.util.find_spec("pydot") is None:
        raise UsageError(
            "draw: needs pydot, which is not installed. Run: pip install 'nst-caffe[draw]'"
        )
    if kind != "dot" and shutil.which("dot") is None:
        raise UsageError(
            f"draw: {kind} needs Graphviz, whose program 'dot' is not on the path. Install the package "
            "graphviz of your system, or take --format dot"
        )


def _net_of(args: argparse.Namespace) -> NetParameter:
    if args.augmented:
        settings = anchored(read_solver(args.source), args.source.parent)
        net = augmented_net_of(with_preset(settings, SolverParameter()))
    else:
        net = _read_net(args.source)
    phase = _PHASES[args.phase]
    if phase is not None:
        state = NetState(phase=phase)
        net = filter_layers(net, state)
    return insert_splits(net) if args.splits else net


def _read_net(path: Path) -> NetParameter:
    """A net file, or the net that a solver file names."""
    try:
        return read_net(path)
    except PrototxtError as not_net:
        try:
            settings = anchored(read_solver(path), path.parent)
        except PrototxtError:
            raise not_net from None
    file = settings.net or settings.train_net
    if not file and not settings.HasField("net_param"):
        raise UsageError(f"{path}: a solver file without a net. Draw it with --augmented")
    return read_net(file) if file else settings.net_param


def _shapes(net: NetParameter) -> dict[str, tuple[int, ...]]:
    """Shapes of all blobs, by building the net; nothing is computed."""
    phase = net.state.phase if net.HasField("state") else TEST
    built = Net(net, backend=get_backend("numpy"), phase=phase)
    return {name: blob.shape for name, blob in built.blobs.items()}


def _rendered(dot: Any, kind: str) -> bytes:
    if kind == "dot":
        text: str = dot.to_string()
        return text.encode()
    try:
        drawn: bytes = dot.create(format=kind)
    except (OSError, AssertionError) as error:
        raise FileError(f"draw: Graphviz failed ({error})") from error
    return drawn
