"""The displays and their numbers, without a run."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from nst.cli.progress import (
    LineDisplay,
    LiveDisplay,
    NoDisplay,
    Rate,
    clock,
    display_for,
    terms_in_order,
)
from nst.solvers import IterationRecord
from nst.style.run import Progress, StyleRun

RUN = StyleRun(job=None)  # type: ignore[arg-type]  # displays do not look at it


def progress(done: int, elapsed_s: float, total: int = 100) -> Progress:
    record = IterationRecord(done, 6.0, 6.0, {"loss_gram_a": 4.0, "loss_b": 2.0}, 1.0, done)
    return Progress(0, (90, 120), done, done, total, record, elapsed_s)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (42.4, "0:42"), (59.6, "1:00"), (723, "12:03"), (3723, "1:02:03")],
)
def test_the_clock_shows_minutes_and_hours(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_content_comes_first_then_style_then_variation() -> None:
    order = ["b", "gram_a", "w2_c", "temporal_1", "tv"]
    terms = {f"loss_{name}": 1.0 for name in ("tv", "temporal_1", "gram_a", "b", "w2_c")}
    assert [name for name, _ in terms_in_order(terms)] == order


def test_the_rate_counts_from_the_start() -> None:
    rate = Rate()
    for done in range(1, 5):
        rate.add(progress(done, done / 2))
    assert rate.text(progress(4, 2.0)) == "2 it/s  0:48 left"


def test_the_rate_forgets_what_is_long_ago() -> None:
    rate = Rate()
    for done in range(1, 41):
        rate.add(progress(done, float(done)))
    for done in range(41, 61):
        rate.add(progress(done, 40 + (done - 40) / 2))
    assert rate.text(progress(60, 50.0)).startswith("2 it/s")


def test_the_rate_of_a_resumed_run_counts_only_what_was_done_now() -> None:
    rate = Rate()
    rate.add(progress(51, 100.0))
    assert rate.text(progress(51, 100.0)) == ""
    rate.add(progress(52, 100.5))
    assert rate.text(progress(52, 100.5)).startswith("2 it/s")


def test_the_rate_survives_going_back() -> None:
    rate = Rate()
    for done, elapsed in ((1, 1.0), (2, 2.0), (1, 3.0), (2, 3.5)):
        rate.add(progress(done, elapsed))
    assert rate.text(progress(2, 3.5)).startswith("2 it/s")


def shown(display: LineDisplay | LiveDisplay, file: io.StringIO, *dones: int) -> str:
    with display:
        for done in dones:
            display.observe(progress(done, float(done)), RUN)
    return file.getvalue()


def test_lines_come_first_last_and_in_between() -> None:
    file = io.StringIO()
    text = shown(LineDisplay(Console(file=file), 40), file, *range(1, 101))
    numbers = [line.split()[1] for line in text.splitlines()]
    assert numbers == ["1/100", "40/100", "80/100", "100/100"]
    assert "120x90  loss 6  b 2  gram_a 4" in text


def test_the_live_display_shows_terms_with_their_share() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, legacy_windows=False)
    text = shown(LiveDisplay(console, 100), file, 1, 2)
    assert "2/100" in text
    assert "gram_a" in text
    assert "120x90" in text


def test_of_many_pictures_the_live_display_names_the_one_in_progress() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, legacy_windows=False)
    display = LiveDisplay(console, 1, named=True)
    job = SimpleNamespace(output=Path("out/town.png"))
    with display:
        display.observe(progress(7, 1.0, total=30), StyleRun(job=job))  # type: ignore[arg-type]
    assert "town.png 120x90" in file.getvalue()
    assert "7/30" in file.getvalue()


def test_the_live_display_says_that_it_is_stopping() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, legacy_windows=False)
    display = LiveDisplay(console, 100)
    display.stopping()
    assert "stopping after this iteration" in shown(display, file, 1)


@pytest.mark.parametrize(
    ("terminal", "quiet", "kind"),
    [(True, False, LiveDisplay), (False, False, LineDisplay), (True, True, NoDisplay)],
)
def test_the_display_fits_the_console(terminal: bool, quiet: bool, kind: type) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    assert type(display_for(console, 10, None, quiet=quiet)) is kind
