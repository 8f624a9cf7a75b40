"""`nst layers`: the layer types, one line each."""

from __future__ import annotations

import argparse
import inspect
import sys

from nst.core import Layer
from nst.layers import LAYERS, layer_class


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("layers", help="list the layer types")
    parser.add_argument(
        "type", nargs="?", help="explain this one: formula, bottoms, tops, parameters"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a table, or the documentation of one type. Raises NetError for an unknown one."""
    if args.type is not None:
        print(_documentation(layer_class(args.type)))
        return 0
    width = max(len(layer.type) for layer in LAYERS)
    for layer in LAYERS:
        summary = _documentation(layer).splitlines()[0]
        print(f"{layer.type:<{width}}  {summary.removeprefix(f'{layer.type}: ')}")
    return 0


def _documentation(layer: type[Layer]) -> str:
    """What the head of the layer's file says: formula, bottoms, tops, parameters, gradient, source."""
    return inspect.getdoc(sys.modules[layer.__module__]) or layer.type
