"""Curves over iterations, through matplotlib (the extra `plot`)."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nst.errors import UsageError
from nst.io.atomic import write_atomically


@dataclass(frozen=True)
class Curve:
    """A named line of points."""

    name: str
    x: list[float]
    y: list[float]


def need_matplotlib() -> None:
    """Raises UsageError now, before a long run, if no plot can be drawn at its end."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            "--plot: needs matplotlib, which is not installed. Run: pip install 'nst-caffe[plot]'"
        )


def check_plot_path(path: Path) -> None:
    """Raises UsageError for a suffix that cannot be plotted."""
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(
            f"{path}: unknown plot format (got {path.suffix!r}, expected .png, .svg or .pdf)"
        )


def plot_curves(path: Path, curves: Sequence[Curve], *, title: str, ylabel: str) -> None:
    """Draws curves to a PNG, SVG or PDF file; the first stands out, the axis is logarithmic if it can be.

    Raises FileError.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, curve in enumerate(curves):
        few = "o" if len(curve.x) < 30 else ""
        axes.plot(
            curve.x,
            curve.y,
            label=curve.name,
            marker=few,
            markersize=3,
            linewidth=1 if number else 2,
        )
    if all(value > 0 for curve in curves for value in curve.y):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="iteration", ylabel=ylabel, title=title)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lstrip("."), dpi=120)
    write_atomically(path, buffer.getvalue())
