"""Any number of records through a net of fixed batch size: cut before, joined after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.errors import UsageError

Array = NDArray[Any]


def count_of(records: Mapping[str, Any]) -> int:
    """How many records there are; raises UsageError for none, and for inputs of different lengths."""
    counts = {name: len(rows) for name, rows in records.items()}
    if len(set(counts.values())) != 1:
        raise UsageError(
            f"forward_all: got {counts or 'no'} records, expected every input, equally long"
        )
    return next(iter(counts.values()))


def batches(records: Mapping[str, Any], size: int) -> Iterator[dict[str, Any]]:
    """Cuts the records into batches of `size`; the last one is filled up with zeros."""
    count = count_of(records) if records else 0
    for begin in range(0, count, size):
        batch: dict[str, Any] = {}
        for name, rows in records.items():
            part = np.asarray(rows[begin : begin + size])
            missing = [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1)
            batch[name] = np.pad(part, missing)
        yield batch


class Rows:
    """Joins what the batches gave, by name."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Array]] = {}

    def add(self, values: Mapping[str, Array]) -> None:
        """Copies one batch; a single number, such as a loss, counts as one row."""
        for name, array in values.items():
            self._parts.setdefault(name, []).append(np.atleast_1d(np.array(array)))

    def first(self, count: int) -> dict[str, Array]:
        """The first `count` rows of each: without what filled up the last batch."""
        return {name: np.concatenate(parts)[:count] for name, parts in self._parts.items()}
