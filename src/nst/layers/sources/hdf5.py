"""Rows of HDF5 data sets: reading batches in, writing them out."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nst.errors import FileError, NetError

Values = NDArray[Any]


def read_rows(path: str, names: list[str], *, layer: str) -> list[Values]:
    """The named data sets as float32, whole. Raises NetError or FileError for what does not fit."""
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in names if not isinstance(file.get(name), h5py.Dataset)]
            if missing:
                raise NetError(
                    f"{path}: no data set {missing[0]!r} (got {', '.join(file) or 'nothing'})",
                    layer=layer,
                )
            rows = [np.asarray(file[name], np.float32) for name in names]
    except OSError as error:
        raise FileError(f"layer '{layer}': Failed opening HDF5 file: {error}", path=path) from error
    lengths = {name: array.shape[:1] for name, array in zip(names, rows, strict=True)}
    if len(set(lengths.values())) != 1 or lengths[names[0]] in ((), (0,)):
        raise NetError(
            f"{path}: data sets must have the same number of rows, at least one (got {lengths})",
            layer=layer,
        )
    return rows


def append_rows(path: str, rows: dict[str, Values], *, is_new: bool, layer: str) -> None:
    """Appends arrays to the data sets of their names; `is_new` starts the file over."""
    try:
        with h5py.File(path, "w" if is_new else "a") as file:
            for name, values in rows.items():
                if name not in file:
                    shape = (0, *values.shape[1:])
                    file.create_dataset(
                        name, shape, values.dtype, maxshape=(None, *shape[1:]), chunks=True
                    )
                data = file[name]
                before = len(data)
                data.resize(before + len(values), axis=0)
                data[before:] = values
    except (OSError, ValueError, TypeError) as error:
        raise FileError(f"layer '{layer}': cannot write HDF5: {error}", path=path) from error
