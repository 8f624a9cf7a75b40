"""`--frames`: the frames of a video with one command."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from nst.cli.backend_choice import choose_backend
from nst.cli.outcome import DONE
from nst.cli.painting import failing_to_write
from nst.cli.planning import bytes_text
from nst.cli.progress import clock, display_for
from nst.cli.recipe import recipe_of
from nst.cli.report import Report, announce
from nst.cli.signals import stop_on_signals
from nst.cli.writable import check_writable
from nst.errors import UsageError
from nst.io.animation import SUFFIXES, is_animation
from nst.io.frames import open_frames
from nst.io.picture_output import write_picture
from nst.io.style_library import StyleLibrary
from nst.proto import SolverParameter, VideoParameter
from nst.style.batch import FINISHED, SKIPPED
from nst.style.job import StyleJob
from nst.style.run import StyleResult
from nst.style.statistics_store import MemoryStore
from nst.style.video.forecast import forecast_video
from nst.style.video.frame_jobs import FrameJobs
from nst.style.video.motion import HOW_TO_GET_OPENCV, choose_motion, has_opencv
from nst.style.video.video import FrameOutcome, Video

_NOT_WITH = ("content", "resume", "dump_net", "history", "plot", "save_every", "snapshot_prefix")


def check_video_flags(args: argparse.Namespace) -> None:
    """Raises UsageError for flags that are about one picture."""
    for name in _NOT_WITH:
        if getattr(args, name):
            raise UsageError(
                f"--{name.replace('_', '-')}: not with the frames of a video. A sequence that was "
                "interrupted goes on when it is started again"
            )


def paint_video(args: argparse.Namespace, settings: SolverParameter, report: Report) -> int:
    """Paints all frames, and the animation if one is asked for; returns the exit code."""
    check_video_flags(args)
    param = settings.style_transfer_param.video
    folder, animation = _targets(settings, overwrite=args.overwrite)
    backend, reason = choose_backend(args)
    jobs = FrameJobs(settings, backend, open_frames(param.frames), choose_motion(param), folder)
    if args.plan:
        return _tell_plan(jobs, reason, report)
    check_writable(folder / "frame")
    if animation is not None:
        check_writable(animation)
    announce(report, jobs.first, reason)
    _announce_frames(report, jobs)
    library = StyleLibrary(args.library) if args.library is not None else None

    def save(job: StyleJob, result: StyleResult, output: Path, fingerprint: str) -> None:
        recipe = recipe_of(args, job, result, fingerprint)
        write_picture(output, result.pixels, recipe=recipe)

    video = Video(jobs, save, store=MemoryStore(library))
    is_whole = _paint(video, settings, report, quiet=args.quiet)
    if animation is not None and is_whole:
        with failing_to_write():
            video.animate(animation)
        report.line(f"saved {animation}")
    return DONE


def _paint(video: Video, settings: SolverParameter, report: Report, *, quiet: bool) -> bool:
    """Runs the sequence under a display; returns whether all frames are there."""
    jobs = video.jobs
    total = sum(jobs.iterations(index) for index in range(len(jobs)))
    every = settings.display if settings.HasField("display") else 0
    display = display_for(report.console, total, every, quiet=quiet, named=True)
    video.observers = [display.observe]

    def stop() -> None:
        video.stop()
        display.stopping()

    def tell(outcome: FrameOutcome) -> None:
        took = f" in {clock(outcome.seconds)}" if outcome.state == FINISHED else ""
        said = f": {outcome.message}" if outcome.message else ""
        report.line(f"{outcome.index + 1}/{len(jobs)} {outcome.output} {outcome.state}{took}{said}")

    with stop_on_signals(stop), display, failing_to_write():
        outcomes = video.run(tell)
    counts = {state: sum(o.state == state for o in outcomes) for state in (FINISHED, SKIPPED)}
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    report.line(f"{len(jobs)} frames: {said or 'none painted'}")
    is_whole = sum(counts.values()) == len(jobs)
    if not is_whole:
        report.line("to go on: start it again")
    return is_whole


def _targets(settings: SolverParameter, *, overwrite: bool | None) -> tuple[Path, Path | None]:
    """The folder of the painted frames, and the animation if one is asked for."""
    style = settings.style_transfer_param
    output = Path(style.output)
    if is_animation(output):
        folder, animation = output.with_name(f"{output.stem}_frames"), output
        if overwrite is False and output.exists():
            raise UsageError(f"{output}: exists already (--no-overwrite). Name another --output")
    elif output.suffix:
        raise UsageError(
            f"--output: of frames a folder, or an animation (got {output}, expected a name without a "
            f"suffix, or one of {', '.join(SUFFIXES)})"
        )
    else:
        folder, animation = output, None
    for target in (folder, output):
        with contextlib.suppress(OSError):
            if target.samefile(style.video.frames):
                raise UsageError(f"--output: {target} is where the frames come from")
    if folder.is_file():
        raise UsageError(f"--output: a folder is needed for the frames (got the file {folder})")
    return folder, animation


def _announce_frames(report: Report, jobs: FrameJobs) -> None:
    report.row(
        "frames",
        f"{len(jobs)} into {jobs.folder}; after the first {jobs.param.iterations} iterations per size",
    )
    weight = jobs.param.temporal_weight
    back = ", ".join(map(str, jobs.distances))
    report.row("temporal", f"weight {weight:g}, frames back: {back}" if weight else "none")
    report.row("flow", jobs.motion.name)
    if jobs.param.flow == VideoParameter.AUTO and not jobs.param.flow_files and not has_opencv():
        report.note(
            f"the flow between frames is not estimated: OpenCV is not here. {HOW_TO_GET_OPENCV}"
        )


def _tell_plan(jobs: FrameJobs, backend: str, report: Report) -> int:
    plan = forecast_video(jobs)
    report.row("backend", backend)
    height, width = jobs.shape
    report.row("frames", f"{plan.frames} of {width}x{height}")
    report.row("first", f"{jobs.iterations(0)} iterations: {clock(plan.first.seconds)}")
    report.row(
        "others",
        f"{jobs.iterations(1)} iterations: {clock(plan.later_s)} each, {plan.motion_s:.2g} s of it "
        "for the motion",
    )
    report.row("time", f"about {clock(plan.seconds)}")
    free = plan.first.available_bytes
    peak = max(plan.first.peak_bytes, plan.later.peak_bytes)
    told = "unknown" if free is None else bytes_text(free)
    report.row("memory", f"{bytes_text(peak)} at most; {told} free")
    plan.check()
    return DONE
