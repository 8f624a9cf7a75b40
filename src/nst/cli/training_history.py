"""What happened while a net was trained, as CSV and as a plot: losses by iteration, tests between."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

from nst.cli.plot import Curve, plot_curves
from nst.io.atomic import write_atomically
from nst.solvers import IterationRecord, Solver


class TrainingHistory:
    """Listens to a solver.

    A row has the iteration, the loss of that iteration and smoothed, its terms as `train_NAME`, the
    rate, evaluations, the gradient's norm, seconds, and after a test the mean outputs of the test nets,
    as `test0_NAME`.
    """

    def __init__(self, solver: Solver) -> None:
        self._began = time.monotonic()
        self._rows: dict[int, dict[str, float]] = {}
        solver.on_iteration.append(self._iteration)
        solver.on_test.append(self._test)

    def _iteration(self, record: IterationRecord) -> None:
        row = self._row(record.iteration)
        row.update(loss=record.loss, smoothed_loss=record.smoothed_loss)
        row.update({f"train_{name}": value for name, value in record.loss_terms.items()})
        row.update(lr=record.lr, evaluations=record.evaluations)
        if record.gradient_norm is not None:
            row["gradient_norm"] = record.gradient_norm
        row["seconds"] = round(time.monotonic() - self._began, 3)

    def _test(self, iteration: int, results: list[dict[str, list[float]]]) -> None:
        row = self._row(iteration)
        for number, outputs in enumerate(results):
            for name, values in outputs.items():
                for index, value in enumerate(values):
                    suffix = f"_{index}" if len(values) > 1 else ""
                    row[f"test{number}_{name}{suffix}"] = value

    def _row(self, iteration: int) -> dict[str, float]:
        return self._rows.setdefault(iteration, {"iteration": iteration})

    def write(self, table: Path | None, plot: Path | None, title: str) -> None:
        """Writes what is asked for; raises FileError."""
        rows = list(self._rows.values())
        columns = list(dict.fromkeys(name for row in rows for name in row))
        columns.sort(key=lambda name: name.startswith("test"))  # stable: tests go last
        if table is not None:
            text = io.StringIO()
            writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            write_atomically(table, text.getvalue().encode())
        if plot is not None and rows:
            shown = [n for n in columns if n in ("loss", "smoothed_loss") or n.startswith("test")]
            curves = [_curve(name, rows) for name in shown]
            plot_curves(plot, curves, title=title, ylabel="loss and test outputs")


def _curve(name: str, rows: list[dict[str, float]]) -> Curve:
    points = [(row["iteration"], row[name]) for row in rows if name in row]
    return Curve(name, [x for x, _ in points], [y for _, y in points])
