"""The history of a style run as a CSV file and as a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nst.cli.plot import Curve, plot_curves
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


def plot_history(path: Path, history: Sequence[Progress], title: str) -> None:
    """Draws total loss and terms over the iterations. Raises FileError."""
    iterations = [float(progress.done) for progress in history]
    curves = [Curve("total", iterations, [progress.record.loss for progress in history])]
    for name in history[0].record.loss_terms if history else ():
        terms = [progress.record.loss_terms.get(name, 0.0) for progress in history]
        curves.append(Curve(name.removeprefix("loss_"), iterations, terms))
    plot_curves(path, curves, title=title, ylabel="loss")
