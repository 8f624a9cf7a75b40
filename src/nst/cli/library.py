"""`nst library`: style statistics in a file, looked at and kept in order."""

from __future__ import annotations

import argparse
from pathlib import Path

from nst.backend import get_backend
from nst.cli.outcome import DONE, FAILED
from nst.cli.solve_settings import read_settings
from nst.cli.style_flags import add_style_flags
from nst.errors import FileError, UsageError
from nst.io.style_library import LibraryEntry, StyleLibrary, label
from nst.style.job import load_job, picture_fields
from nst.style.run import StyleRun
from nst.style.statistics_store import MemoryStore


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`nst library` and its actions."""
    parser = subparsers.add_parser("library", help="keep style statistics in a file")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_adder(actions)
    for name, run, text in (
        ("list", _list, "one line per entry"),
        ("verify", _verify, "check every array against its checksum"),
        ("optimize", _optimize, "drop what is damaged or unused, compress, shrink the file"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("library", type=Path, metavar="FILE.h5", help="the library")
        action.set_defaults(run=run)
    for name, run, text in (
        ("show", _show, "all about the entries whose key begins so"),
        ("remove", _remove, "take the entries whose key begins so out"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("library", type=Path, metavar="FILE.h5", help="the library")
        action.add_argument("key", help="the beginning of a key, as `list` prints it")
        action.set_defaults(run=run)


def _add_adder(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "compute the statistics of --style for every size, and keep them"
    action = actions.add_parser("add", help=text, description=text)
    action.add_argument("library", type=Path, metavar="FILE.h5", help="the library")
    action.add_argument(
        "--solver", metavar="solver.prototxt", help="the settings of the runs to come"
    )
    action.add_argument("--model", metavar="NAME", help="a model that comes with nst")
    action.add_argument("--backend", default="auto", metavar="NAME", help="as the runs to come")
    action.add_argument("--threads", type=int, metavar="N", help="of the cpu backend")
    add_style_flags(action)
    action.set_defaults(run=_add, resume=None, overwrite=True)


def _add(args: argparse.Namespace) -> int:
    """Every `--style` by itself: mixtures are made when they are painted."""
    if not args.style:
        raise UsageError("--style: none given (expected one or more pictures)")
    library = StyleLibrary(args.library)
    before = {entry.key for entry in library.entries()}
    store = MemoryStore(library)
    backend = get_backend(args.backend, threads=args.threads)
    styles, args.content = args.style, None
    for style in styles:
        args.style = [style]
        settings = read_settings(args)
        for holder, name in picture_fields(settings.style_transfer_param):
            if name in ("mask", "keep_mask"):
                holder.ClearField(name)  # it is about where in a result the style will be
        settings.style_transfer_param.content.ClearField("image")
        settings.style_transfer_param.content_weight = 0
        StyleRun(load_job(settings, backend), statistics=store).compute_statistics()
    entries = library.entries()
    print(f"{len(entries) - len(before)} entries added, {len(entries)} in {args.library}")
    return DONE


def _list(args: argparse.Namespace) -> int:
    for entry in _existing(args.library).entries():
        print(f"{entry.key[:12]}  {label(entry)}, {entry.about.get('backend', '?')}")
    return DONE


def _show(args: argparse.Namespace) -> int:
    library = _existing(args.library)
    for entry in _chosen(library, args.key):
        print(entry.key)
        for name, value in entry.about.items():
            print(f"  {name:<8} {', '.join(value) if isinstance(value, list) else value}")
        for name, array in (library.get(entry.key) or {}).items():
            print(f"  {name}  {array.shape} {array.dtype}  {entry.arrays[name][:12]}")
    return DONE


def _remove(args: argparse.Namespace) -> int:
    library = _existing(args.library)
    keys = [entry.key for entry in _chosen(library, args.key)]
    library.remove(keys)
    print(f"{len(keys)} entries removed; `nst library optimize` gives their space back")
    return DONE


def _verify(args: argparse.Namespace) -> int:
    library = _existing(args.library)
    problems = library.verify()
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{len(library.entries())} entries, all whole")
    return FAILED if problems else DONE


def _optimize(args: argparse.Namespace) -> int:
    before, after = _existing(args.library).optimize()
    print(f"{before:,} bytes before, {after:,} after")
    return DONE


def _existing(path: Path) -> StyleLibrary:
    if not path.is_file():
        raise FileError("no such library (`nst library add` makes one)", path=str(path))
    return StyleLibrary(path)


def _chosen(library: StyleLibrary, start: str) -> list[LibraryEntry]:
    found = [entry for entry in library.entries() if entry.key.startswith(start)]
    if not found:
        raise UsageError(f"no entry whose key begins with {start!r}; `nst library list` has them")
    return found
