"""`nst-solve`, the main job: flags in, picture out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from nst.cli.backend_choice import choose_backend
from nst.cli.batch import add_batch_flags, paint_all
from nst.cli.outcome import OneLineParser, guarded
from nst.cli.painting import paint
from nst.cli.planning import tell_plan
from nst.cli.plot import check_plot_path, need_matplotlib
from nst.cli.progress import display_for
from nst.cli.report import Report, announce
from nst.cli.solve_settings import read_settings
from nst.cli.style_flags import add_style_flags, add_video_flags
from nst.cli.video import paint_video
from nst.cli.writable import check_writable
from nst.io.atomic import write_atomically
from nst.io.picture_output import check_writable as check_picture_writable
from nst.io.prototxt import format_message
from nst.style.augmented_net import augmented_net
from nst.style.forecast import fitted
from nst.style.job import StyleJob, load_job

_USAGE = "[solver.prototxt] [--content FILE] [--style FILE] [flags]"
_ABOUT = (
    "Paints one picture in the manner of another; a style alone makes a texture, a content alone is painted "
    "anew from its features. A solver file says what to do; flags override it; with neither, the pictures "
    "that come with the package are used."
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command `nst-solve`; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = OneLineParser(prog="nst-solve", usage=f"nst-solve {_USAGE}", description=_ABOUT)
    add_flags(parser)

    def command() -> int:
        args = parser.parse_args(words)
        args.command = ["nst-solve", *words]
        return run(args)

    return guarded(parser.prog, command, debug="--debug" in words)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`nst solve`, the same."""
    parser = subparsers.add_parser(
        "solve", usage=f"nst solve {_USAGE}", description=_ABOUT, help="paint a picture"
    )
    add_flags(parser)
    parser.set_defaults(run=run)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Every flag of the command."""
    parser.add_argument(
        "solver", nargs="?", metavar="solver.prototxt", help="the settings of a run"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="take the solver file of this model that comes with nst"
    )
    add_style_flags(parser)
    run_flags = parser.add_argument_group("run")
    run_flags.add_argument(
        "--backend", default="auto", metavar="NAME", help="auto, numpy, cpu or cuda; see `nst info`"
    )
    run_flags.add_argument(
        "--threads", type=int, metavar="N", help="of the cpu backend; default: all"
    )
    run_flags.add_argument(
        "--dump-net", metavar="FILE", help="write the augmented net as prototxt; - prints it"
    )
    run_flags.add_argument("--history", type=Path, metavar="FILE.csv", help="write every iteration")
    run_flags.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the losses")
    run_flags.add_argument(
        "--resume", type=Path, metavar="FILE.snapshot", help="go on where this snapshot was taken"
    )
    run_flags.add_argument(
        "--plan",
        action="store_true",
        help="say how long the run takes and how much memory, and paint nothing",
    )
    run_flags.add_argument(
        "--library",
        type=Path,
        metavar="FILE.h5",
        help="keep style statistics in this file, and take them from it; see `nst library`",
    )
    add_batch_flags(parser.add_argument_group("many pictures"))
    add_video_flags(parser.add_argument_group("frames of a video"))
    run_flags.add_argument(
        "--overwrite",
        action=argparse.BooleanOptionalAction,
        help="whether an existing picture may be replaced; by default only one named by --output or "
        "by the solver file",
    )
    run_flags.add_argument("--quiet", action="store_true", help="print nothing but errors")
    run_flags.add_argument("--debug", action="store_true", help="print the log, and tracebacks")


def run(args: argparse.Namespace) -> int:
    """Checks everything, paints, saves; returns the exit code. Raises NstError, RunFailed."""
    if args.plot is not None:
        need_matplotlib()
        check_plot_path(args.plot)
    for path in (args.history, args.plot):
        if path is not None:
            check_writable(path)
    console = Console(stderr=args.dump_net == "-")
    report = Report(console, quiet=args.quiet)
    with report.notes():
        if args.batch is not None:
            return paint_all(args, report)
        settings = read_settings(args)
        if settings.style_transfer_param.video.frames:
            return paint_video(args, settings, report)
        check_picture_writable(settings.style_transfer_param.output)
        backend, reason = choose_backend(args)
        job = load_job(settings, backend)
        if args.plan:
            return tell_plan(job, reason, report)
        job = fitted(job)
        announce(report, job, reason)
        if args.dump_net:
            _dump_net(args.dump_net, job)
        total = sum(stage.iterations for stage in job.stages)
        every = settings.display if settings.HasField("display") else None
        display = display_for(console, total, every, quiet=args.quiet)
        return paint(args, job, display, report)


def _dump_net(target: str, job: StyleJob) -> None:
    """Writes the net of the last size."""
    shape = job.shape_at(job.stages[-1].size)
    text = format_message(augmented_net(job.net, job.objective, shape))
    if target == "-":
        sys.stdout.write(text)
    else:
        write_atomically(target, text.encode())
