"""The history of a run as a CSV file and as a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nst.errors import UsageError
from nst.io.atomic import write_atomically

if TYPE_CHECKING:
    from nst.style.run import Progress

_FIXED = ("iteration", "stage", "height", "width", "loss")
_LAST = ("step", "evaluations", "gradient_norm", "seconds")


def write_history(path: Path, history: Sequence[Progress]) -> None:
    """Writes one row per iteration; an empty gradient_norm means that the rule does not know it.

    `step` is the learning rate, or the step length that a line search found. Raises FileError.
    """
    terms = list(history[0].record.loss_terms) if history else []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*_FIXED, *terms, *_LAST])
    for progress in history:
        record = progress.record
        norm = "" if record.gradient_norm is None else repr(float(record.gradient_norm))
        table.writerow(
            [progress.done, progress.stage + 1, *progress.size, repr(float(record.loss))]
            + [repr(float(record.loss_terms.get(term, 0.0))) for term in terms]
            + [repr(float(record.lr)), record.evaluations, norm, f"{progress.elapsed_s:.3f}"]
        )
    write_atomically(path, text.getvalue().encode())


def need_matplotlib() -> None:
    """Raises UsageError now, before a long run, if no plot can be drawn at its end."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError(
            "--plot: needs matplotlib, which is not installed. Run: pip install 'nst-caffe[plot]'"
        ) from None


def plot_history(path: Path, history: Sequence[Progress], title: str) -> None:
    """Draws total loss and terms over the iterations, on a logarithmic axis. Raises FileError."""
    names = list(history[0].record.loss_terms) if history else []
    curves = {"total": [progress.record.loss for progress in history]}
    for name in names:
        curves[name] = [progress.record.loss_terms.get(name, 0.0) for progress in history]
    plot_curves(path, [progress.done for progress in history], curves, title=title, ylabel="loss")


def plot_curves(
    path: Path,
    iterations: Sequence[float],
    curves: dict[str, list[float]],
    *,
    title: str,
    ylabel: str,
) -> None:
    """Draws curves over one axis of iterations to a PNG, SVG or PDF file, as the suffix says."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, values) in enumerate(curves.items()):
        axes.plot(iterations, values, label=name, linewidth=2 if not number else 1)
    if all(value > 0 for values in curves.values() for value in values):
        axes.set_yscale("log")
    axes.set(xlabel="iteration", ylabel=ylabel, title=title)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lstrip(".") or "png", dpi=120)
    write_atomically(path, buffer.getvalue())


def check_plot_path(path: Path) -> None:
    """Raises UsageError for a suffix that cannot be plotted."""
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(
            f"{path}: unknown plot format (got {path.suffix!r}, expected .png, .svg or .pdf)"
        )
