"""`nst presets`: the named presets, each whole, as the solver text that it is."""

from __future__ import annotations

import argparse

from nst.style.presets import find_preset, preset_names


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("presets", help="print the named presets of style runs")
    parser.add_argument(
        "name", nargs="?", help="only this one; the text is a solver file to start from"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints one preset bare, or all of them under headings. Raises UsageError for an unknown name."""
    if args.name is not None:
        print(find_preset(args.name).text, end="")
        return 0
    for number, name in enumerate(preset_names()):
        print(("\n" if number else "") + f"# ---- preset {name}")
        print(find_preset(name).text, end="")
    return 0
