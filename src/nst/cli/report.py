"""What a style run says before and after: plain lines, and the notes that arrive by the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from nst.cli.progress import clock
from nst.proto import InitialImage
from nst.style.gradient_shares import log as shares_log
from nst.style.job import StyleJob
from nst.style.objective import Tap
from nst.style.run import StyleResult


class Report:
    """Prints lines to one console, or nothing when quiet."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self.console = console
        self._quiet = quiet
        self._early: list[str] | None = []

    def line(self, text: str) -> None:
        if not self._quiet:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def row(self, title: str, text: str) -> None:
        self.line(f"  {title:<9} {text}")

    def note(self, text: str) -> None:
        """Prints a note; before the run is announced it waits, and an error makes it go unsaid."""
        if self._early is None:
            self.row("note", text)
        else:
            self._early.append(text)

    def print_early_notes(self) -> None:
        notes, self._early = self._early or [], None
        for text in notes:
            self.row("note", text)

    @contextmanager
    def notes(self) -> Iterator[None]:
        """While active, warnings and what --report-gradients measured are printed as notes, those before the
        run by `announce`."""
        handler = _NoteHandler(self)
        package, level = logging.getLogger("nst"), shares_log.level
        package.addHandler(handler)
        shares_log.setLevel(logging.INFO)
        try:
            yield
        finally:
            package.removeHandler(handler)
            shares_log.setLevel(level)


class _NoteHandler(logging.Handler):
    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING or record.name == shares_log.name:
            self._report.note(record.getMessage())


def announce(report: Report, job: StyleJob, backend: str) -> None:
    """A few lines about what will be done."""
    names = [style.picture.path.name for style in job.styles]
    if job.content is None:
        report.line(f"painting a texture in the manner of {', '.join(names)}")
    elif names:
        report.line(f"painting {job.content.path.name} in the manner of {', '.join(names)}")
    else:
        report.line(f"painting {job.content.path.name} anew from its features")
    report.row("backend", backend)
    weights = [record.name for role, record in job.files.items() if role.startswith("weights")]
    report.row("net", f"{job.net.name or 'unnamed'}, weights {', '.join(weights) or 'given'}")
    start = InitialImage.From.Name(getattr(job.style_param.init, "from")).lower()
    report.row("start", start.replace("_", " "))
    kind = job.settings.type if job.settings.HasField("type") else "LBFGS"
    sizes = ", then ".join(f"{stage.size} px x {stage.iterations}" for stage in job.stages)
    report.row("plan", f"{sizes} iterations of {kind}")
    first = job.objective.style[0].region if job.objective.style else ""
    share = job.regions.shares.get(first, 1.0)
    style = tuple(
        replace(tap, weight=tap.weight / share)
        for tap in job.objective.style
        if tap.region == first
    )
    for title, taps in (("content", job.objective.content), ("style", style)):
        if taps:
            report.row(title, _taps(taps))
    _tell_regions(report, job)
    pictures = [job.content] if job.content else []
    for picture in (*pictures, *(style.picture for style in job.styles)):
        for note in picture.notes:
            report.note(f"{picture.path.name}: {note}")
    report.print_early_notes()
    report.row("output", str(job.output))


def _tell_regions(report: Report, job: StyleJob) -> None:
    """What share of the picture each style has, and how much stays as it is."""
    for region, share in job.regions.shares.items():
        names = [style.picture.path.name for style in job.styles if style.region == region]
        report.row("region", f"{region}, {share:.1%} of the picture: {', '.join(names)}")
    if job.regions.kept is not None:
        report.row(
            "kept", f"{float(job.regions.kept.mean()):.1%} of the picture, as the content has it"
        )


def conclude(report: Report, output: Path, result: StyleResult, seconds: float) -> None:
    """Where the picture is and what it took."""
    height, width = result.pixels.shape[:2]
    loss = f", loss {result.history[-1].record.loss:.6g}" if result.history else ""
    report.line(
        f"saved {output} ({width}x{height}) after {len(result.history)} iterations "
        f"in {clock(seconds)}{loss}; {result.stop_reason}"
    )


def _taps(taps: tuple[Tap, ...]) -> str:
    return ", ".join(f"{tap.blob} ({tap.weight:g})" for tap in taps)
