"""The records of a run as columns of numbers, for snapshots; every float comes back bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.solvers import IterationRecord
from nst.style.progress import Progress

_COLUMNS = "records/"
_TERM = "records/term/"
_FIXED = (
    *("stage", "height", "width", "iteration", "done", "total", "elapsed_s", "loss"),
    *("smoothed_loss", "lr", "evaluations", "gradient_norm"),
)


def records_to_arrays(history: Sequence[Progress]) -> dict[str, NDArray[Any]]:
    """One float64 array per column; an unknown gradient norm, and a term that was not there, is NaN."""
    rows = [_row(progress) for progress in history]
    table = np.array(rows, np.float64).reshape(-1, len(_FIXED))
    arrays = {f"{_COLUMNS}{name}": table[:, i].copy() for i, name in enumerate(_FIXED)}
    names = dict.fromkeys(name for progress in history for name in progress.record.loss_terms)
    for name in names:
        values = [progress.record.loss_terms.get(name, np.nan) for progress in history]
        arrays[f"{_TERM}{name}"] = np.array(values, np.float64)
    return arrays


def records_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[Progress, ...]:
    """The inverse of `records_to_arrays`; raises KeyError or ValueError for arrays that are none."""
    table = np.stack([arrays[f"{_COLUMNS}{name}"] for name in _FIXED], axis=1)
    terms = {
        name.removeprefix(_TERM): column
        for name, column in arrays.items()
        if name.startswith(_TERM)
    }
    return tuple(
        _progress(row, {name: float(column[i]) for name, column in terms.items()})
        for i, row in enumerate(table)
    )


def _row(progress: Progress) -> list[float]:
    record = progress.record
    norm = np.nan if record.gradient_norm is None else record.gradient_norm
    return [
        *(progress.stage, *progress.size, progress.iteration, progress.done, progress.total),
        *(progress.elapsed_s, record.loss, record.smoothed_loss, record.lr),
        *(record.evaluations, norm),
    ]


def _progress(row: NDArray[Any], terms: Mapping[str, float]) -> Progress:
    stage, height, width, iteration, done, total = (int(value) for value in row[:6])
    elapsed_s, loss, smoothed, lr, evaluations, norm = (float(value) for value in row[6:])
    record = IterationRecord(
        iteration,
        loss,
        smoothed,
        {name: value for name, value in terms.items() if not np.isnan(value)},
        lr,
        int(evaluations),
        None if np.isnan(norm) else norm,
    )
    return Progress(stage, (height, width), iteration, done, total, record, elapsed_s)
