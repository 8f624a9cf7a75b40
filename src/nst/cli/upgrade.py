"""`nst upgrade`: nets and solver files of any age to the current form, as text or binary."""

from __future__ import annotations

import argparse
from pathlib import Path

from google.protobuf.message import DecodeError

from nst.errors import FileError, PrototxtError, UsageError
from nst.io.atomic import write_atomically
from nst.io.caffemodel import write_caffemodel
from nst.io.hdf5 import is_hdf5
from nst.io.prototxt import format_message, parse_message
from nst.io.upgrade import upgrade_net, upgrade_solver
from nst.proto import NetParameter, SolverParameter


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "upgrade",
        help="bring a net or solver file to the current form",
        description="Brings a net or solver of any age to the current form. Text stays text; a "
        "caffemodel stays binary, or becomes text if OUT ends in .prototxt.",
    )
    parser.add_argument("source", type=Path, metavar="IN")
    parser.add_argument("target", type=Path, metavar="OUT", help="- prints the text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Reads, upgrades, writes. Raises NstError."""
    source, target = args.source, args.target
    message, is_text = _read(source)
    if str(target) == "-":
        print(format_message(message), end="")
        return 0
    if target.exists() and target.samefile(source):
        raise UsageError(f"{target}: would overwrite what it is made from")
    if isinstance(message, NetParameter) and not is_text and target.suffix != ".prototxt":
        write_caffemodel(target, message)
    else:
        write_atomically(target, format_message(message).encode())
    print(f"wrote {target}")
    return 0


def _read(path: Path) -> tuple[NetParameter | SolverParameter, bool]:
    """The message in the current form, and whether the file is text."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror})", path=str(path)) from error
    if is_hdf5(path):
        raise UsageError(f"{path}: HDF5 holds weights without a net. See `nst weights convert`")
    if b"\0" not in data:
        return _from_text(data.decode("utf-8-sig", errors="surrogateescape"), str(path)), True
    try:
        return upgrade_net(NetParameter.FromString(data), str(path)), False
    except DecodeError as error:
        raise FileError("neither prototxt nor a caffemodel", path=str(path)) from error


def _from_text(text: str, path: str) -> NetParameter | SolverParameter:
    """A net or a solver; if it is neither, the error of the one that fitted further."""
    try:
        return upgrade_net(parse_message(text, NetParameter, path), path)
    except PrototxtError as not_net:
        try:
            return upgrade_solver(parse_message(text, SolverParameter, path), path)
        except PrototxtError as not_solver:
            place = (not_solver.line, not_solver.column) > (not_net.line, not_net.column)
            raise (not_solver if place else not_net) from None
