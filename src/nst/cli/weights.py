"""`nst weights`: look into files of weights, convert them, fetch the known ones."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from nst.errors import UsageError
from nst.io import weights
from nst.io.fetch import fetch
from nst.io.known_models import KnownModel, cached_file, find_model, find_weights, known_models

if TYPE_CHECKING:
    from nst.io.download import Progress as ReportBytes

_SUFFIXES = (".caffemodel", ".h5")
_NUMBERS = ("MB",)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `weights` with its own sub-commands; `args.run` is `run`."""
    parser = subparsers.add_parser("weights", help="look into, convert and fetch files of weights")
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    info = actions.add_parser("info", help="list the layers of a file: type, shapes, size")
    info.add_argument("file", help="a caffemodel, an HDF5 file, or the name of a known model")
    info.set_defaults(act=_info)

    convert = actions.add_parser("convert", help="convert between caffemodel and HDF5")
    convert.add_argument("source", type=Path, metavar="IN")
    convert.add_argument("target", type=Path, metavar="OUT", help="its suffix says the format")
    convert.set_defaults(act=_convert)

    fetching = actions.add_parser("fetch", help="download the weights of a known model")
    fetching.add_argument("name", help="the model's name; `nst weights list` shows them")
    fetching.add_argument("--cache", type=Path, metavar="DIR", help="instead of the user's cache")
    fetching.set_defaults(act=_fetch)

    listing = actions.add_parser("list", help="list the known models and where their weights are")
    listing.set_defaults(act=_list)


def run(args: argparse.Namespace) -> int:
    """Does what `args.action` asks for; returns the exit code. Raises NstError for bad input."""
    args.act(args)
    return 0


def _info(args: argparse.Namespace) -> None:
    path = find_weights(args.file, Path.cwd())
    rows = weights.describe(path)
    table = [
        (
            row.name,
            row.type,
            " ".join("x".join(map(str, shape)) for shape in row.shapes),
            _mb(row.nbytes),
        )
        for row in rows
        if row.shapes
    ]
    values = sum(math.prod(shape) for row in rows for shape in row.shapes)
    bare = len(rows) - len(table)
    _print_table(("layer", "type", "shapes", "MB"), table)
    print(
        f"{path.name}: {len(table)} layers with weights, {bare} without; "
        f"{values:,} values, {_mb(sum(row.nbytes for row in rows))} MB"
    )


def _convert(args: argparse.Namespace) -> None:
    source, target = args.source, args.target
    if target.suffix.lower() not in _SUFFIXES:
        expected = " or ".join(_SUFFIXES)
        raise UsageError(
            f"{target}: unknown format (got suffix {target.suffix!r}, expected {expected})"
        )
    if source.resolve() == target.resolve():
        raise UsageError(f"{target}: would overwrite what it is made from")
    weights.convert(source, target)
    print(f"wrote {target} ({_mb(target.stat().st_size)} MB)")


def _fetch(args: argparse.Namespace) -> None:
    model = find_model(args.name)
    with _progress(model) as (progress, tell):
        path = fetch(model, args.cache, progress=progress, tell=tell)
    print(path)


def _list(args: argparse.Namespace) -> None:
    rows = [
        (model.name, _mb(model.bytes), _whereabouts(model), model.license, model.description)
        for model in known_models().values()
    ]
    _print_table(("model", "MB", "weights", "licence", "description"), rows)


def _whereabouts(model: KnownModel) -> str:
    if model.shipped_file.is_file():
        return "shipped"
    return "in the cache" if cached_file(model).is_file() else "to be fetched"


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A drawn table on a terminal; aligned columns, two blanks apart, in a pipe."""
    console = Console()
    if console.is_terminal:
        table = Table(box=SIMPLE)
        for title in titles:
            table.add_column(title, justify="right" if title in _NUMBERS else "left")
        for row in rows:
            table.add_row(*map(Text, row))  # Text: a name is not markup
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        cells = [
            cell.rjust(width) if title in _NUMBERS else cell.ljust(width)
            for title, cell, width in zip(titles, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())


@contextmanager
def _progress(model: KnownModel) -> Iterator[tuple[ReportBytes, Callable[[str], None]]]:
    """Ways to report bytes and lines on stderr: a bar on a terminal, a line per tenth elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _TenthLines(model.name), lambda line: print(line, file=sys.stderr)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    bar = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console)
    with bar:
        task = bar.add_task(model.name, total=model.bytes, start=False)

        def report(done: int, total: int) -> None:
            bar.start_task(task)
            bar.update(task, completed=done, total=total)

        yield report, lambda line: console.print(line, markup=False, highlight=False)


class _TenthLines:
    """Prints a line whenever another tenth has arrived."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tenths = -1

    def __call__(self, done: int, total: int) -> None:
        tenths = 10 * done // total
        if tenths != self._tenths:
            self._tenths = tenths
            print(f"{self._name}: {_mb(done)} of {_mb(total)} MB", file=sys.stderr, flush=True)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.2f}"
