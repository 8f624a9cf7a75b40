"""One painting from its first iteration to its files: display, signals, snapshots, records, picture."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nst.cli.history import plot_history, write_history
from nst.cli.outcome import DONE, RunFailed
from nst.cli.progress import Display
from nst.cli.recipe import recipe_of
from nst.cli.report import Report, conclude
from nst.cli.signals import stop_on_signals
from nst.errors import FileError, ImageError
from nst.io.output_lock import output_held
from nst.io.picture_output import write_picture
from nst.io.picture_transform import to_uint8
from nst.io.style_library import StyleLibrary
from nst.solvers import StopReason
from nst.style.job import StyleJob
from nst.style.run import Observer, Progress, StyleResult, StyleRun
from nst.style.run_snapshot import SnapshotFile, snapshot_path
from nst.style.statistics_store import MemoryStore


def paint(args: argparse.Namespace, job: StyleJob, display: Display, report: Report) -> int:
    """Runs a job to its end and saves all that it leaves; returns the exit code.

    Raises RunFailed for a run that diverged, was stopped before its first iteration, or whose result
    could not be written; FileError, naming the other run, if one is painting the same output.
    """
    assert job.output is not None  # the settings always name one
    with output_held(job.output):
        return _paint(args, job, display, report)


def _paint(args: argparse.Namespace, job: StyleJob, display: Display, report: Report) -> int:
    assert job.output is not None
    began = time.monotonic()
    snapshots = snapshots_of(job)
    store = MemoryStore(StyleLibrary(args.library)) if args.library is not None else None
    painting = StyleRun(job, snapshots=snapshots, resume=args.resume, statistics=store)
    painting.observers += [display.observe, saver(job, job.output)]

    def stop() -> None:
        painting.stop()
        display.stopping()

    try:
        with stop_on_signals(stop), display:
            result = painting.run()
    finally:
        _write_records(args, painting.history, job.output)
    _save(args, job, painting, result)
    conclude(report, job.output, result, time.monotonic() - began)
    is_stopped = result.stop_reason == StopReason.REQUESTED.value
    if snapshots is not None and is_stopped:
        report.line(snapshots.problem or f"to go on: --resume {snapshots.path}")
    elif snapshots is not None:
        snapshots.discard()
    return DONE


def snapshots_of(job: StyleJob) -> SnapshotFile | None:
    """Where and how often the run is saved: every `snapshot` iterations, else every few minutes.

    The file is `<snapshot_prefix>.snapshot`, or lies beside the output. `snapshot: 0` wants none.
    """
    assert job.output is not None
    prefix = job.settings.snapshot_prefix
    path = Path(f"{prefix}.snapshot") if prefix else snapshot_path(job.output)
    if not job.settings.HasField("snapshot"):
        return SnapshotFile(path)
    every = job.settings.snapshot
    return SnapshotFile(path, every=every, seconds=0) if every > 0 else None


def saver(job: StyleJob, output: Path) -> Observer:
    """An observer that writes `<stem>_<iteration>` beside the output every `save_every` iterations."""
    every = job.style_param.save_every

    def save(progress: Progress, run: StyleRun) -> None:
        picture = run.picture() if every and progress.done % every == 0 else None
        if picture is not None:
            path = output.with_name(f"{output.stem}_{progress.done:04d}{output.suffix}")
            with failing_to_write():
                write_picture(path, to_uint8(picture))

    return save


def _kept(painting: StyleRun) -> str:
    """Saves a run whose picture could not be written; says where, or why not."""
    painting.save()
    snapshots = painting.snapshots
    if snapshots is None:
        return ""
    return f". {snapshots.problem or f'Nothing is lost: --resume {snapshots.path} writes it again'}"


@contextmanager
def failing_to_write() -> Iterator[None]:
    """Turns a file that cannot be written into a failed run: it could be when the run began."""
    try:
        yield
    except (FileError, ImageError) as error:
        raise RunFailed(str(error)) from error


def _write_records(args: argparse.Namespace, history: tuple[Progress, ...], output: Path) -> None:
    """History and plot, also of a run that was stopped or failed."""
    with failing_to_write():
        if args.history is not None:
            write_history(args.history, history)
        if args.plot is not None and history:
            plot_history(args.plot, history, output.stem)


def _save(args: argparse.Namespace, job: StyleJob, painting: StyleRun, result: StyleResult) -> None:
    """Writes the picture; raises RunFailed if the run failed or has none."""
    assert job.output is not None
    if not result.history:
        why = str(painting.failure) if painting.failure else "stopped"
        raise RunFailed(f"{why}; no iteration was finished, so there is no picture")
    try:
        with failing_to_write():
            recipe = recipe_of(args, job, result)
            write_picture(job.output, result.pixels, result.alpha, recipe=recipe)
    except RunFailed as error:
        raise RunFailed(f"{error}{_kept(painting)}") from error
    if painting.failure is not None:
        raise RunFailed(f"{painting.failure} The best picture is in {job.output}")
