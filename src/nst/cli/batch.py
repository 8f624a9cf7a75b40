"""`--batch`: many pictures with one command."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from nst.cli.backend_choice import choose_backend
from nst.cli.outcome import DONE, FAILED, RunFailed
from nst.cli.progress import clock, display_for
from nst.cli.recipe import recipe_of
from nst.cli.report import Report
from nst.cli.signals import stop_on_signals
from nst.cli.solve_settings import read_settings
from nst.errors import UsageError
from nst.io.picture_output import write_picture
from nst.io.style_library import StyleLibrary
from nst.style import batch as style_batch
from nst.style.batch import Batch, BatchOutcome
from nst.style.batch_list import BatchRow, read_batch
from nst.style.job import StyleJob
from nst.style.run import StyleResult
from nst.style.statistics_store import MemoryStore

_NOT_WITH = ("content", "resume", "plan", "dump_net", "history", "plot")


def add_batch_flags(group: argparse._ActionsContainer) -> None:
    """The flags of a batch."""
    group.add_argument(
        "--batch",
        metavar="FOLDER|PATTERN|FILE.csv",
        help="paint every picture there; the columns of a CSV file are content, style, output and "
        "options. --output is then a folder",
    )
    group.add_argument(
        "--batch-styles",
        metavar="FOLDER|PATTERN|FILE",
        action="append",
        help="paint every picture in the manner of each of these",
    )


def paint_all(args: argparse.Namespace, report: Report) -> int:
    """Paints the pictures of `--batch`; the exit code is 1 if any failed. Raises NstError."""
    _check(args)
    rows = read_batch(args.batch, args.batch_styles or [])
    backend, reason = choose_backend(args)
    folder = Path(args.output or ".")
    args.output = None
    args.overwrite = True  # a batch names its outputs itself
    settings = read_settings(args)
    if settings.style_transfer_param.video.frames:
        raise UsageError("--batch: not with the frames of a video")
    library = StyleLibrary(args.library) if args.library is not None else None

    def save(job: StyleJob, result: StyleResult, output: Path) -> None:
        write_picture(output, result.pixels, result.alpha, recipe=recipe_of(args, job, result))

    display = display_for(report.console, 1, 0, quiet=args.quiet, named=True)
    observers = [display.observe]
    batch = Batch(settings, backend, folder, save, observers, store=MemoryStore(library))

    def stop() -> None:
        batch.stop()
        display.stopping()

    report.line(f"{len(rows)} pictures into {folder}")
    report.row("backend", reason)
    teller = _Teller(report, len(rows))
    with stop_on_signals(stop), display:
        outcomes = batch.run(rows, teller.tell)
    return _conclude(report, rows, outcomes)


def _check(args: argparse.Namespace) -> None:
    for name in _NOT_WITH:
        if getattr(args, name):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag}: not with --batch, which is about many pictures")
    if args.output and Path(args.output).is_file():
        raise UsageError(f"--output: with --batch a folder (got the file {args.output})")


class _Teller:
    """Prints a line per picture."""

    def __init__(self, report: Report, total: int) -> None:
        self._report, self._total, self._done = report, total, 0

    def tell(self, outcome: BatchOutcome) -> None:
        self._done += 1
        said = f": {outcome.message}" if outcome.message else ""
        took = f" in {clock(outcome.seconds)}" if outcome.state == style_batch.FINISHED else ""
        self._report.line(
            f"{self._done}/{self._total} {outcome.output} {outcome.state}{took}{said}"
        )


def _conclude(report: Report, rows: list[BatchRow], outcomes: list[BatchOutcome]) -> int:
    """The summary; returns the exit code."""
    counts = Counter(outcome.state for outcome in outcomes)
    counts["not begun"] = len(rows) - len(outcomes)
    parts = [f"{number} {state}" for state, number in counts.items() if number]
    report.line(f"{len(rows)} pictures: {', '.join(parts)}")
    if counts[style_batch.FAILED] == len(rows):
        raise RunFailed(outcomes[0].message)
    return FAILED if counts[style_batch.FAILED] else DONE
