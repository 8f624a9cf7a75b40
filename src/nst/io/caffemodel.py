"""Weights as Caffe stores them: binary NetParameter files, of 2013, 2014 and now.

A weights file is mapped, not read: the wire format is walked from length to length, and only the values
of the layers that are wanted are copied out. So the convolutions come out of the 575 MB of VGG19 without
its 495 MB of fully connected weights.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from nst.errors import WeightsError
from nst.io.atomic import write_atomically
from nst.io.blob_proto import BlobRecord, StoredBlob, load_blob, scan_blob
from nst.io.files import FilePath, cannot_read
from nst.io.signature import looks_like
from nst.io.type_names import LAYER_TYPES, canonical_type
from nst.io.wire import LENGTH, VARINT, Bytes, Truncated, WireError, fields, length_prefix
from nst.proto import LayerParameter, NetParameter, V0LayerParameter, V1LayerParameter

Weights = dict[str, list[StoredBlob | None]]
"""Layer name -> its blobs in order; None is a shared blob that is stored with its owner (HDF5 only)."""

_LAYER = NetParameter.LAYER_FIELD_NUMBER
_LAYERS = NetParameter.LAYERS_FIELD_NUMBER
_V0 = V1LayerParameter.LAYER_FIELD_NUMBER
_MYCAFFE = b"mycaffe.ai"


@dataclass(frozen=True)
class LayerRow:
    """One layer of a weights file, for lists: shapes of its blobs and bytes of their values."""

    name: str
    type: str
    shapes: tuple[tuple[int, ...], ...]
    nbytes: int


@dataclass
class _Layer:
    """A layer as found in the file."""

    name: str = ""
    type: str = ""
    blobs: list[BlobRecord] = field(default_factory=list)


def read_caffemodel(path: FilePath, wanted: Collection[str] | None = None) -> Weights:
    """Returns the blobs of the wanted layers (all, if None), by layer name, in order.

    Layers without blobs come with an empty list. A name that the file has twice gives its last
    layer. Errors: WeightsError, which says what the file looks like if it is no caffemodel.
    """
    weights: Weights = {}
    with _mapped(path) as data, _told(path, data):
        for layer in _layers(data):
            if wanted is None or layer.name in wanted:
                weights[layer.name] = [_load(data, blob, layer.name, path) for blob in layer.blobs]
                _forget_pages(data)
    return weights


def describe_caffemodel(path: FilePath) -> list[LayerRow]:
    """Returns one row per layer, in file order. Errors: as read_caffemodel."""
    with _mapped(path) as data, _told(path, data):
        return [
            LayerRow(
                layer.name,
                layer.type,
                tuple(blob.shape for blob in layer.blobs),
                sum(blob.nbytes for blob in layer.blobs),
            )
            for layer in _layers(data)
        ]


def write_caffemodel(path: FilePath, net: NetParameter) -> None:
    """Writes the net with the blobs in its layers, layer by layer, as Caffe's Net::ToProto would.

    Errors: FileError when the file cannot be written, WeightsError when a layer is over 2 GB.
    """

    def write(file: IO[bytes]) -> None:
        for piece in encode(net):
            file.write(piece)

    write_atomically(path, write)


def encode(net: NetParameter) -> Iterator[bytes]:
    """Yields the bytes of the net in pieces, so that the whole never lies in memory twice."""
    rest = NetParameter(
        **{item.name: value for item, value in net.ListFields() if item.name != "layer"}
    )
    yield rest.SerializePartialToString()
    for layer in net.layer:
        data = layer.SerializePartialToString()
        if len(data) >= 1 << 31:
            text = f"is too large for a caffemodel (got {len(data)} bytes, expected < 2 GB)"
            raise WeightsError(f"{text}. Write HDF5 instead.", layer=layer.name)
        yield length_prefix(_LAYER, len(data))
        yield data


@contextlib.contextmanager
def _mapped(path: FilePath) -> Iterator[mmap.mmap]:
    try:
        with Path(path).open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                raise WeightsError("no caffemodel: the file is empty", path=os.fspath(path))
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise cannot_read(path, error, WeightsError) from error
    with mapped:
        yield mapped


@contextlib.contextmanager
def _told(path: FilePath, data: mmap.mmap) -> Iterator[None]:
    """Turns a WireError into a WeightsError that says what the file looks like."""
    try:
        yield
    except WireError as error:
        kind = looks_like(data[:256])
        what = f"no caffemodel: {error}"
        if kind:
            what = f"no caffemodel: it looks like {kind}"
        elif isinstance(error, Truncated):
            what = f"truncated: {error} (got {len(data)}). Download or copy it again."
        raise WeightsError(what, path=os.fspath(path)) from error


def _layers(data: mmap.mmap) -> Iterator[_Layer]:
    """Yields the layers of the file in order; the whole outline is checked before the first."""
    found = [item for item in fields(data, 0, _end(data)) if item.number in (_LAYER, _LAYERS)]
    if not found or any(item.kind != LENGTH for item in found):
        raise WireError("it has no layers")
    for item in found:
        yield (_current if item.number == _LAYER else _old)(data, item.start, item.end)


def _end(data: mmap.mmap) -> int:
    """Returns where the message ends: before the block that MyCaffe appends, or at the end."""
    if data[-len(_MYCAFFE) :] != _MYCAFFE:
        return len(data)
    return data.rfind(bytes(256) + _MYCAFFE)


def _current(data: Bytes, start: int, end: int) -> _Layer:
    layer = _Layer()
    for item in fields(data, start, end):
        if item.number == LayerParameter.NAME_FIELD_NUMBER and item.kind == LENGTH:
            layer.name = _text(data, item.start, item.end)
        elif item.number == LayerParameter.TYPE_FIELD_NUMBER and item.kind == LENGTH:
            layer.type = _text(data, item.start, item.end)
        elif item.number == LayerParameter.BLOBS_FIELD_NUMBER and item.kind == LENGTH:
            layer.blobs.append(scan_blob(data, item.start, item.end))
    return layer


def _old(data: Bytes, start: int, end: int) -> _Layer:
    """A layer of 2014, or one of 2013 nested in it, which then is all that counts."""
    layer = _Layer()
    for item in fields(data, start, end):
        if item.number == _V0 and item.kind == LENGTH:
            return _oldest(data, item.start, item.end)
        if item.number == V1LayerParameter.NAME_FIELD_NUMBER and item.kind == LENGTH:
            layer.name = _text(data, item.start, item.end)
        elif item.number == V1LayerParameter.TYPE_FIELD_NUMBER and item.kind == VARINT:
            layer.type = _v1_type(item.value)
        elif item.number == V1LayerParameter.BLOBS_FIELD_NUMBER and item.kind == LENGTH:
            layer.blobs.append(scan_blob(data, item.start, item.end))
    return layer


def _oldest(data: Bytes, start: int, end: int) -> _Layer:
    layer = _Layer()
    for item in fields(data, start, end):
        if item.number == V0LayerParameter.NAME_FIELD_NUMBER and item.kind == LENGTH:
            layer.name = _text(data, item.start, item.end)
        elif item.number == V0LayerParameter.TYPE_FIELD_NUMBER and item.kind == LENGTH:
            layer.type = _text(data, item.start, item.end)
        elif item.number == V0LayerParameter.BLOBS_FIELD_NUMBER and item.kind == LENGTH:
            layer.blobs.append(scan_blob(data, item.start, item.end))
    return layer


def _v1_type(number: int) -> str:
    values = V1LayerParameter.DESCRIPTOR.enum_types_by_name["LayerType"].values_by_number
    return canonical_type(values[number].name, LAYER_TYPES) if number in values else str(number)


def _text(data: Bytes, start: int, end: int) -> str:
    return data[start:end].decode("utf-8", errors="replace")


def _load(data: Bytes, blob: BlobRecord, layer: str, path: FilePath) -> StoredBlob:
    try:
        return load_blob(data, blob)
    except WireError as error:
        raise WeightsError(str(error), path=os.fspath(path), layer=layer) from error


def _forget_pages(data: mmap.mmap) -> None:
    """Lets go of the pages that were copied from, so that they do not count as memory in use."""
    if hasattr(mmap, "MADV_DONTNEED"):
        data.madvise(mmap.MADV_DONTNEED)
