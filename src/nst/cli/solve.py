"""`nst-solve`, the main job: flags in, picture out."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from nst.cli.augmented import augmented_net
from nst.cli.backend_choice import choose_backend
from nst.cli.history import plot_history, write_history
from nst.cli.outcome import DONE, OneLineParser, RunFailed, guarded
from nst.cli.plot import check_plot_path, need_matplotlib
from nst.cli.progress import Display, display_for
from nst.cli.recipe import recipe_of
from nst.cli.report import Report, announce, conclude
from nst.cli.signals import stop_on_signals
from nst.cli.solve_settings import read_settings
from nst.cli.style_flags import add_style_flags
from nst.errors import FileError, ImageError
from nst.io.atomic import write_atomically
from nst.io.picture_output import check_writable, write_picture
from nst.io.picture_transform import to_uint8
from nst.io.prototxt import format_message
from nst.io.resample import fit_longest_side
from nst.style.job import StyleJob, load_job
from nst.style.run import Observer, Progress, StyleRun

_USAGE = "[solver.prototxt] [--content FILE] [--style FILE] [flags]"
_ABOUT = (
    "Paints one picture in the manner of another. A solver file says what to do; flags override it; "
    "with neither, the pictures that come with the package are used."
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
    console = Console(stderr=args.dump_net == "-")
    report = Report(console, quiet=args.quiet)
    with report.notes():
        settings = read_settings(args)
        output = Path(settings.style_transfer_param.output)
        check_writable(output)
        backend, reason = choose_backend(args)
        job = load_job(settings, backend)
        announce(report, job, reason)
        if args.dump_net:
            _dump_net(args.dump_net, job)
        total = sum(stage.iterations for stage in job.stages)
        every = settings.display if settings.HasField("display") else None
        display = display_for(console, total, every, quiet=args.quiet)
        return _paint(args, job, output, display, report)


# ---- the run and what is kept of it ------------------------------------------------------------------------


def _paint(
    args: argparse.Namespace, job: StyleJob, output: Path, display: Display, report: Report
) -> int:
    began = time.monotonic()
    painting = StyleRun(job, [display.observe, _saver(job, output)])
    done: list[Progress] = []
    painting.observers.append(lambda progress, run: done.append(progress))

    def stop() -> None:
        painting.stop()
        display.stopping()

    try:
        with stop_on_signals(stop), display:
            result = painting.run()
    finally:
        _write_records(args, done, output)
    if not result.history:
        why = str(painting.failure) if painting.failure else "stopped"
        raise RunFailed(f"{why}; no iteration was finished, so there is no picture")
    seconds = time.monotonic() - began
    with _failing():
        write_picture(output, result.pixels, result.alpha, recipe=recipe_of(args, job, result))
    if painting.failure is not None:
        raise RunFailed(f"{painting.failure} The best picture is in {output}")
    conclude(report, output, result, seconds)
    return DONE


class _failing:
    """Turns a file that cannot be written into a failed run: it was possible when the run began."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, (FileError, ImageError)):
            raise RunFailed(str(error)) from error


def _saver(job: StyleJob, output: Path) -> Observer:
    """An observer that writes `<stem>_<iteration>` beside the output every `save_every` iterations."""
    every = job.style_param.save_every

    def save(progress: Progress, run: StyleRun) -> None:
        if every and progress.done % every == 0 and run.painter is not None:
            path = output.with_name(f"{output.stem}_{progress.done:04d}{output.suffix}")
            with _failing():
                write_picture(path, to_uint8(run.painter.picture()))

    return save


def _write_records(args: argparse.Namespace, done: list[Progress], output: Path) -> None:
    """History and plot, also of a run that was stopped or failed."""
    with _failing():
        if args.history is not None:
            write_history(args.history, done)
        if args.plot is not None and done:
            plot_history(args.plot, done, output.stem)


def _dump_net(target: str, job: StyleJob) -> None:
    """Writes the net of the last size."""
    giver = job.content or job.styles[0].picture
    shape = fit_longest_side(giver.rgb.shape[:2], job.stages[-1].size, enlarge=True)
    text = format_message(augmented_net(job.net, job.objective, shape))
    if target == "-":
        sys.stdout.write(text)
    else:
        write_atomically(target, text.encode())
