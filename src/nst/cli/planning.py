"""`--plan`: what a run will take, before it begins."""

from __future__ import annotations

from nst.cli.outcome import DONE
from nst.cli.progress import clock
from nst.cli.report import Report
from nst.style.forecast import forecast
from nst.style.job import StyleJob


def tell_plan(job: StyleJob, backend: str, report: Report) -> int:
    """Prints time and memory per size; returns the exit code. UsageError if the run does not fit."""
    plan = forecast(job)
    report.row("backend", backend)
    for stage in plan.stages:
        height, width = stage.shape
        report.row(
            f"{stage.stage.size} px",
            f"{width}x{height}, {stage.stage.iterations} iterations of {stage.iteration_s:.3g} s: "
            f"{clock(stage.seconds)}, memory {bytes_text(stage.peak_bytes)}",
        )
    free = "unknown" if plan.available_bytes is None else bytes_text(plan.available_bytes)
    report.row("time", f"about {clock(plan.seconds)}")
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


def bytes_text(count: int) -> str:
    """`1.23 GB`, `45 MB`."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
