"""What a run shows while it runs: a live display on a terminal, plain lines in a pipe, or nothing."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from nst.proto import StyleTransferParameter
from nst.style.run import Progress, StyleRun

LINES_PER_RUN = 20
_STATISTICS = tuple(
    f"{value.name.lower()}_" for value in StyleTransferParameter.StyleStatistic.DESCRIPTOR.values
)
STOPPING = "stopping after this iteration; Ctrl-C again aborts at once"


class Display(Protocol):
    """Shows a run; entered before it begins, left when it ends in whatever way."""

    def __enter__(self) -> Display: ...

    def __exit__(self, *error: object) -> None: ...

    def observe(self, progress: Progress, run: StyleRun) -> None:
        """Called after every iteration."""
        ...

    def stopping(self) -> None:
        """Called from a signal handler: the run ends after the iteration in progress."""
        ...


def display_for(
    console: Console, total: int, every: int | None, *, quiet: bool, named: bool = False
) -> Display:
    """Chooses the display. `every`: iterations between plain lines, None for about 20 lines per run.

    `named` tells the picture in progress, where there are several; each brings its own total.
    """
    if quiet:
        return NoDisplay()
    if console.is_terminal:
        return LiveDisplay(console, total, named=named)
    return LineDisplay(console, max(1, total // LINES_PER_RUN) if every is None else every)


class NoDisplay:
    """Shows nothing."""

    def __enter__(self) -> NoDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def observe(self, progress: Progress, run: StyleRun) -> None:
        pass

    def stopping(self) -> None:
        pass


class LineDisplay(NoDisplay):
    """One line every `every` iterations, and after the first and the last; 0 shows none."""

    def __init__(self, console: Console, every: int) -> None:
        self._console = console
        self._every = every
        self._rate = Rate()

    def observe(self, progress: Progress, run: StyleRun) -> None:
        self._rate.add(progress)
        due = self._every and progress.done % self._every == 0
        if not due and not (self._every and progress.done in (1, progress.total)):
            return
        terms = "  ".join(
            f"{name} {value:.4g}" for name, value in terms_in_order(progress.record.loss_terms)
        )
        height, width = progress.size
        self._console.print(
            f"iteration {progress.done}/{progress.total}  {width}x{height}  "
            f"loss {progress.record.loss:.6g}  {terms}  {self._rate.text(progress)}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def stopping(self) -> None:
        # Past Python's buffer, in which the signal may have caught a line half written.
        with contextlib.suppress(OSError):
            os.write(self._console.file.fileno(), f"{STOPPING}\n".encode())


class LiveDisplay:
    """A bar with speed and time left, and below it each loss term with its share."""

    def __init__(self, console: Console, total: int, *, named: bool = False) -> None:
        self._named = named
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            console=console,
            expand=True,
        )
        self._task = self._bars.add_task("preparing", total=total, rate="")
        self._rate = Rate()
        self._latest: Progress | None = None
        self._stopping = False
        self._mark = "█" if console.encoding.lower().startswith("utf") else "#"
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=8)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def observe(self, progress: Progress, run: StyleRun) -> None:
        self._rate.add(progress)
        self._latest = progress
        height, width = progress.size
        output = run.job.output if self._named else None
        self._bars.update(
            self._task,
            completed=progress.done,
            total=progress.total,
            description=f"{output.name if output else ''} {width}x{height}".lstrip(),
            rate=self._rate.text(progress),
        )

    def stopping(self) -> None:
        self._stopping = True  # shown by the refreshing thread: printing here could deadlock

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = [self._bars]
        if self._latest is not None:
            parts.append(_loss_table(self._latest, self._mark))
        if self._stopping:
            parts.append(Text(STOPPING))
        return Group(*parts)


class Rate:
    """Iterations per second over the last ten seconds or so, and the time left at that rate."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque([(0.0, 0)], maxlen=200)

    def add(self, progress: Progress) -> None:
        if progress.done != self._seen[-1][1] + 1:  # resumed, or gone back after a divergence
            self._seen.clear()
        self._seen.append((progress.elapsed_s, progress.done))
        while len(self._seen) > 2 and self._seen[0][0] < progress.elapsed_s - 10:
            self._seen.popleft()

    def text(self, progress: Progress) -> str:
        """`3.21 it/s  0:42 left`."""
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        rate = (last - first) / max(now - began, 1e-9)
        if not rate:  # one iteration since it was resumed
            return ""
        left = round((progress.total - progress.done) / rate)
        return f"{rate:.3g} it/s  {clock(left)} left"


def clock(seconds: float) -> str:
    """`0:42`, `12:03`, `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def terms_in_order(terms: Mapping[str, float]) -> list[tuple[str, float]]:
    """Loss terms without their `loss_`: content, style, earlier frames, total variation."""

    def rank(name: str) -> int:
        if name == "tv" or name.startswith("temporal_"):
            return 2 + (name == "tv")
        return int(name.startswith(_STATISTICS))

    short = [(name.removeprefix("loss_"), value) for name, value in terms.items()]
    return sorted(short, key=lambda term: rank(term[0]))


def _loss_table(progress: Progress, mark: str) -> Table:
    loss = progress.record.loss
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    table.add_row("loss", f"{loss:.6g}", "", style="bold")
    for name, value in terms_in_order(progress.record.loss_terms):
        share = value / loss if loss else 0.0
        table.add_row(name, f"{value:.4g}", Text(mark * round(30 * share), style="blue"))
    return table
