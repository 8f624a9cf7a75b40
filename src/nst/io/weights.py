"""Weights files of either format: read by what the file is, written by what its name says."""

from __future__ import annotations

import os
from collections.abc import Collection

from nst.errors import WeightsError
from nst.io.blob_proto import attach_blobs, blob_to_array
from nst.io.caffemodel import (
    LayerRow,
    Weights,
    describe_caffemodel,
    read_caffemodel,
    write_caffemodel,
)
from nst.io.files import FilePath
from nst.io.hdf5 import describe_hdf5, is_hdf5, read_hdf5, write_hdf5
from nst.proto import NetParameter


def read_weights(path: FilePath, wanted: Collection[str] | None = None) -> Weights:
    """Returns the blobs of the wanted layers (all, if None), by layer name.

    HDF5 or binary is told by the file's signature, as in Caffe Net::CopyTrainedLayersFrom.
    Errors: WeightsError.
    """
    return (read_hdf5 if is_hdf5(path) else read_caffemodel)(path, wanted)


def weights_inside(net: NetParameter) -> Weights:
    """Returns the blobs that stand in the description itself, by layer name; layers without are left out.

    Errors: WeightsError, naming the layer, where their number is not what their shape says.
    """
    weights: Weights = {}
    for layer in net.layer:
        try:
            if layer.blobs:
                weights[layer.name] = [blob_to_array(blob) for blob in layer.blobs]
        except ValueError as error:
            raise WeightsError(str(error), layer=layer.name) from error
    return weights


def describe(path: FilePath) -> list[LayerRow]:
    """Returns one row per layer: name, type, shapes, bytes of values. Errors: WeightsError."""
    return (describe_hdf5 if is_hdf5(path) else describe_caffemodel)(path)


def write_weights(path: FilePath, net: NetParameter) -> None:
    """Writes the net's layers with their blobs, as HDF5 if the name ends in .h5, else as binary.

    Errors: FileError, WeightsError.
    """
    (write_hdf5 if os.fspath(path).endswith(".h5") else write_caffemodel)(path, net)


def convert(source: FilePath, target: FilePath) -> None:
    """Writes the weights of one file in the format that the other's name says.

    Layer types are kept where both formats know them. Errors: FileError, WeightsError.
    """
    weights = read_weights(source)
    net = NetParameter()
    for row in describe(source):
        net.layer.add(name=row.name, type=row.type)
    arrays = {}
    for name, blobs in weights.items():
        arrays[name] = [blob.array for blob in blobs if blob is not None]
        if len(arrays[name]) != len(blobs):
            text = "has a shared blob, which only the net knows. Load the net and save it instead."
            raise WeightsError(text, path=os.fspath(source), layer=name)
    write_weights(target, attach_blobs(net, arrays))
