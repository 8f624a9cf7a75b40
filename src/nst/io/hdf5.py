"""Weights in Caffe's HDF5 layout: `/data/<layer>/<i>`, and `/diff/<layer>/<i>` for gradients.

A layer name with a slash, which Caffe cannot store, becomes nested groups: blob 0 of `inception_3a/1x1`
is `/data/inception_3a/1x1/0`, readable as it stands. A layer without blobs is an empty group. A shared
blob is stored with its owner only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nst.errors import WeightsError
from nst.io.atomic import write_atomically
from nst.io.blob_proto import StoredBlob, blob_to_array, blob_to_diff
from nst.io.caffemodel import LayerRow, Weights
from nst.io.files import FilePath, cannot_read
from nst.io.signature import HDF5, looks_like
from nst.proto import LayerParameter, NetParameter

# What h5py raises, depending on where in a damaged file it stumbles.
DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
_MOST_BLOBS = 1000


def is_hdf5(path: FilePath) -> bool:
    """Says whether the file has HDF5's signature. Errors: WeightsError when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(HDF5)) == HDF5
    except OSError as error:
        raise cannot_read(path, error, WeightsError) from error


def read_hdf5(path: FilePath, wanted: Collection[str] | None = None) -> Weights:
    """Returns the blobs of the wanted layers (all, if None), by layer name.

    Any numeric type reads, float64 stays so and the rest becomes float32. None stands for a blob
    that is missing before one that is there: it is shared. Errors: WeightsError.
    """
    weights: Weights = {}
    with _opened(path) as file:
        for name, datasets in _layers(file, path).items():
            if wanted is None or name in wanted:
                weights[name] = [_load(item, name, path) for item in datasets]
    return weights


def describe_hdf5(path: FilePath) -> list[LayerRow]:
    """Returns one row per layer, by name; the file does not know types. Errors: as read_hdf5."""
    with _opened(path) as file:
        return [
            LayerRow(
                name,
                "",
                tuple(item.shape for item in datasets if item is not None),
                sum(item.nbytes for item in datasets if item is not None),
            )
            for name, datasets in _layers(file, path).items()
        ]


def write_hdf5(path: FilePath, net: NetParameter) -> None:
    """Writes the blobs in the net's layers, gradients too where they have them.

    Errors: FileError when the file cannot be written, WeightsError when a layer name cannot be
    stored or two layers have the same.
    """

    def write(file: IO[bytes]) -> None:
        with h5py.File(file, "w") as target:
            target.create_group("data")
            owners: set[str] = set()
            for layer in net.layer:
                _write_layer(target, layer, owners)

    write_atomically(path, write)


def _write_layer(target: h5py.File, layer: LayerParameter, owners: set[str]) -> None:
    if any(part in ("", ".") for part in layer.name.split("/")):
        raise WeightsError(f"HDF5 cannot hold the name {layer.name!r}", layer=layer.name)
    key = f"data/{layer.name}"
    if key in target and (isinstance(target[key], h5py.Dataset) or _numbers(target[key])):
        raise WeightsError("HDF5 holds one layer of a name", layer=layer.name)
    target.require_group(key)
    for index, blob in enumerate(layer.blobs):
        shared = layer.param[index].name if index < len(layer.param) else ""
        if shared not in owners:
            target[f"{key}/{index}"] = blob_to_array(blob).array
            if (diff := blob_to_diff(blob)) is not None:
                target[f"diff/{layer.name}/{index}"] = diff
        owners |= {shared} - {""}


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdecimal() and int(name) < _MOST_BLOBS


def _numbers(group: h5py.Group) -> list[str]:
    return [name for name in group if _is_index(name)]


@contextlib.contextmanager
def _opened(path: FilePath) -> Iterator[h5py.File]:
    try:
        with Path(path).open("rb") as raw:
            head = raw.read(256)
        if not head.startswith(HDF5):
            what = looks_like(head) or "something else"
            raise WeightsError(f"no HDF5 weights: it looks like {what}", path=os.fspath(path))
        with h5py.File(path, "r") as file:
            yield file
    except WeightsError:
        raise
    except DAMAGED as error:
        raise WeightsError(f"cannot be read ({error})", path=os.fspath(path)) from error


def _layers(file: h5py.File, path: FilePath) -> dict[str, list[h5py.Dataset | None]]:
    """Returns the data sets of every layer, by index, with None for gaps."""
    data = file.get("data")
    if not isinstance(data, h5py.Group):
        hint = " It looks like Keras weights." if "layer_names" in file.attrs else ""
        text = f"no weights in Caffe's layout: the group 'data' is missing.{hint}"
        raise WeightsError(text, path=os.fspath(path))
    layers: dict[str, dict[int, h5py.Dataset]] = {}

    def visit(name: str, item: Any) -> None:
        layer, _, index = name.rpartition("/")
        if isinstance(item, h5py.Group):
            if len(item) == 0:
                layers.setdefault(name, {})
        elif isinstance(item, h5py.Dataset) and layer and _is_index(index):
            layers.setdefault(layer, {})[int(index)] = item
        else:
            text = f"no weights in Caffe's layout: unexpected 'data/{name}'"
            raise WeightsError(text, path=os.fspath(path))

    data.visititems(visit)
    return {
        name: [found.get(index) for index in range(max(found, default=-1) + 1)]
        for name, found in sorted(layers.items())
    }


def _load(item: h5py.Dataset | None, layer: str, path: FilePath) -> StoredBlob | None:
    if item is None:
        return None
    where = {"path": os.fspath(path), "layer": layer}
    if item.dtype.kind not in "fiu":
        raise WeightsError(f"'{item.name}' holds no numbers (got {item.dtype})", **where)
    if item.size is None or (item.size > 0 and item.id.get_storage_size() == 0):
        raise WeightsError(f"'{item.name}' was declared but never written", **where)
    kind = np.float64 if item.dtype.kind == "f" and item.dtype.itemsize >= 8 else np.float32
    values: NDArray[Any] = np.asarray(item[()]).astype(kind)
    return StoredBlob(values)
