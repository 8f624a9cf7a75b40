"""`--plan`: what a run will take, before it begins."""

from __future__ import annotations

import time

from nst.cli.outcome import DONE
from nst.cli.progress import clock
from nst.cli.report import Report
from nst.style.forecast import forecast
from nst.style.job import StyleJob


def tell_plan(job: StyleJob, backend: str, report: Report) -> int:
    """Prints time and memory per size; returns the exit code. UsageError if the run does not fit."""
    start_s = time.process_time()  # what a run too does to get here: modules, pictures, weights
    plan = forecast(job)
    report.row("backend", backend)
    for stage in plan.stages:
        height, width = stage.shape
        report.row(
            f"{stage.stage.size} px",
            f"{width}x{height}, {stage.stage.iterations} iterations of {stage.iteration_s:.3g} s: "
            f"{duration(stage.seconds)}, memory {bytes_text(stage.peak_bytes)}",
        )
    free = "unknown" if plan.available_bytes is None else bytes_text(plan.available_bytes)
    around_s = start_s + plan.wake_s + plan.delivery_s
    report.row(
        "time",
        f"about {duration(start_s + plan.seconds)}, {duration(around_s)} of it before and after",
    )
    report.row(
        "memory",
        f"{bytes_text(plan.peak_bytes)} at most, of it {bytes_text(plan.held_bytes)} held; {free} free",
    )
    if plan.corrections != plan.wanted_corrections:
        report.row(
            "history", f"{plan.corrections} pairs instead of {plan.wanted_corrections}, to fit"
        )
    plan.check()
    return DONE


def duration(seconds: float) -> str:
    """`8.4 s`, and from a minute on `1:24`."""
    return f"{seconds:.1f} s" if seconds < 59.95 else clock(seconds)


def bytes_text(count: int) -> str:
    """`1.23 GB`, `45 MB`."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
