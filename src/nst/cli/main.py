"""`nst`: one sub-command per module, imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from nst.cli.outcome import OneLineParser, guarded
from nst.cli.versions import nst_version

COMMANDS: dict[str, tuple[str, str]] = {
    "solve": ("solve", "paint a picture; the same as nst-solve"),
    "presets": ("presets", "print the named presets of style runs"),
    "draw": ("draw", "draw a net, or the augmented net of a style run"),
    "library": ("library", "keep style statistics in a file"),
    "weights": ("weights", "look into, convert and fetch files of weights"),
    "train": ("train", "train a net, from scratch, from weights or from a snapshot"),
    "test": ("testing", "score a net on the data that its test phase reads"),
    "time": ("timing", "time a net layer by layer"),
    "extract": ("extract", "write the values of blobs, for the data that a net reads"),
    "mean": ("mean", "mean picture and mean colour of a data set"),
    "convert-imageset": ("convert_imageset", "put a list of pictures into an LMDB database"),
    "upgrade": ("upgrade", "bring a net or solver file to the current form"),
    "layers": ("layers", "list the layer types"),
    "device": ("device", "the processors and GPUs of this machine"),
    "info": ("info", "versions, backends, models and what is missing"),
}
"""Command -> (module of nst.cli, one line of help)."""

PRINT_THE_LOG = ("solve", "train", "test")
"""Commands that print warnings as they come."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command `nst`; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    command = next((word for word in words if not word.startswith("-")), "")
    prog = f"nst {command}" if command in COMMANDS else "nst"

    def work() -> int:
        args = _parser(command).parse_args(words or ["--help"])
        args.command, args.debug = ["nst", *words], debug
        code: int = args.run(args)
        return code

    return guarded(prog, work, debug=debug, tell_notes=command not in PRINT_THE_LOG)


def _parser(command: str) -> argparse.ArgumentParser:
    """The parser of `nst`, with the real parser of one command and placeholders for the others."""
    parser = OneLineParser(
        prog="nst",
        description="Neural style transfer on a Caffe-style layer framework.",
        epilog="`nst COMMAND --help` explains a command. --debug prints the log, and tracebacks.",
    )
    parser.add_argument("--version", action="version", version=f"nst {nst_version()}")
    subparsers = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    for name, (module, text) in COMMANDS.items():
        if name == command:
            importlib.import_module(f"nst.cli.{module}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=text)
    return parser
