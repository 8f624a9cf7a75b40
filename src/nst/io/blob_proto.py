"""Arrays on file: BlobProto to numpy and back, without a Python number per element.

A blob's values may be packed or not, float or double, in one piece or several; its shape is a list of
extents or the four legacy numbers. All of it is read from the wire format, where the values are already
what numpy needs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.io.wire import (
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    Bytes,
    WireError,
    encoded_varint,
    field_at,
    fields,
    length_prefix,
    signed,
    varint_at,
)
from nst.proto import BlobProto, NetParameter

Array = NDArray[Any]

_DATA, _DIFF, _SHAPE, _DOUBLE_DATA, _DOUBLE_DIFF = 5, 6, 7, 8, 9
_LEGACY = (1, 2, 3, 4)


@dataclass(frozen=True, eq=False)
class StoredBlob:
    """An array from a file.

    `legacy` says that its shape was written as num, channels, height, width: a bias of N is then
    (1, 1, 1, N), and fits a blob whose shape agrees from the right (Caffe Blob::ShapeEquals).
    """

    array: Array
    legacy: bool = False


@dataclass
class BlobRecord:
    """Where a blob's shape and values lie in a file; nothing of the values is read yet."""

    dims: list[int] = field(default_factory=list)
    legacy_dims: dict[int, int] = field(default_factory=dict)
    chunks: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)

    @property
    def legacy(self) -> bool:
        """Whether any of the four legacy extents is given."""
        return bool(self.legacy_dims)

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents, outermost first."""
        if self.legacy:
            return tuple(self.legacy_dims.get(number, 0) for number in _LEGACY)
        return tuple(self.dims)

    @property
    def nbytes(self) -> int:
        """Size of the values on file."""
        sizes = ((_DATA, 4), (_DIFF, 4), (_DOUBLE_DATA, 8), (_DOUBLE_DIFF, 8))
        return sum(self.count(number) * size for number, size in sizes)

    def count(self, number: int) -> int:
        """Number of values in field `number`."""
        return sum(count for _, count, _ in self.chunks.get(number, ()))


def scan_blob(data: Bytes, start: int, end: int) -> BlobRecord:
    """Returns where the parts of the BlobProto in data[start:end] lie. Errors: WireError."""
    record = BlobRecord()
    while start < end:
        found = field_at(data, start, end)
        number = found.number
        if number in _LEGACY and found.kind == VARINT:
            record.legacy_dims[number] = signed(found.value)
        elif number == _SHAPE and found.kind == LENGTH:
            record.dims += _dims(data, found.start, found.end)
        elif number in (_DATA, _DIFF, _DOUBLE_DATA, _DOUBLE_DIFF):
            size = 4 if number in (_DATA, _DIFF) else 8
            chunk, after = _chunk(data, start, end, size)
            record.chunks.setdefault(number, []).append(chunk)
            start = after
            continue
        elif number in _LEGACY or number == _SHAPE:
            raise WireError(f"no blob at byte {start}")
        start = found.end
    return record


def load_blob(data: Bytes, record: BlobRecord) -> StoredBlob:
    """Returns the values of a scanned blob; double_data wins over data.

    Errors: WireError when their number is not what the shape says.
    """
    number = _DOUBLE_DATA if record.count(_DOUBLE_DATA) else _DATA
    return StoredBlob(_values(data, record, number), record.legacy)


def blob_to_array(proto: BlobProto) -> StoredBlob:
    """Returns the values of a BlobProto, float32, or float64 if it holds doubles.

    Errors: ValueError when their number is not what the shape says. Source: Caffe Blob::FromProto.
    """
    data = proto.SerializeToString()
    return load_blob(data, scan_blob(data, 0, len(data)))


def blob_to_diff(proto: BlobProto) -> Array | None:
    """Returns the gradient of a BlobProto, None if it has none. Errors: as blob_to_array."""
    data = proto.SerializeToString()
    record = scan_blob(data, 0, len(data))
    number = _DOUBLE_DIFF if record.count(_DOUBLE_DIFF) else _DIFF
    return _values(data, record, number) if record.count(number) else None


def array_to_blob(array: Array, diff: Array | None = None) -> BlobProto:
    """Returns the array, and its gradient if given, as Caffe writes it: shape and packed values.

    float64 goes to double_data, everything else to data. Source: Caffe Blob::ToProto.
    """
    array = np.asarray(array)
    dims = b"".join(encoded_varint(extent) for extent in array.shape)
    inner = length_prefix(1, len(dims)) + dims if dims else b""
    parts = [length_prefix(_SHAPE, len(inner)), inner]
    doubles = array.dtype == np.float64
    parts += _packed(_DOUBLE_DATA if doubles else _DATA, array, doubles)
    if diff is not None:
        parts += _packed(_DOUBLE_DIFF if doubles else _DIFF, np.asarray(diff), doubles)
    return BlobProto.FromString(b"".join(parts))


def attach_blobs(
    net: NetParameter,
    blobs: Mapping[str, Sequence[Array]],
    diffs: Mapping[str, Sequence[Array]] | None = None,
) -> NetParameter:
    """Returns a copy of the net whose layers hold these arrays, by layer name."""
    full = NetParameter()
    full.CopyFrom(net)
    for layer in full.layer:
        layer.ClearField("blobs")
        arrays = blobs.get(layer.name, ())
        gradients = (diffs or {}).get(layer.name, ())
        pairs = itertools.zip_longest(arrays, gradients)
        layer.blobs.extend(array_to_blob(array, diff) for array, diff in pairs)
    return full


def _packed(number: int, array: Array, doubles: bool) -> list[bytes]:
    data = np.ascontiguousarray(array, dtype="<f8" if doubles else "<f4").tobytes()
    return [length_prefix(number, len(data)), data] if data else []


def _values(data: Bytes, record: BlobRecord, number: int) -> Array:
    shape = record.shape
    if any(extent < 0 for extent in shape):
        raise WireError(f"a blob has a negative extent (got shape {shape})")
    count = record.count(number)
    if count != math.prod(shape):
        raise WireError(f"a blob of shape {shape} has {count} values, expected {math.prod(shape)}")
    kind = np.dtype("<f4" if number in (_DATA, _DIFF) else "<f8")
    pieces = [_piece(data, kind, *chunk) for chunk in record.chunks.get(number, ())]
    flat = pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, kind), *pieces])
    return flat.astype(kind.newbyteorder("="), copy=False).reshape(shape)


def _piece(data: Bytes, kind: np.dtype[Any], start: int, count: int, stride: int) -> Array:
    """Returns a copy of `count` values whose first lies at `start`, one every `stride` bytes."""
    return np.array(np.ndarray((count,), kind, buffer=data, offset=start, strides=(stride,)))


def _chunk(data: Bytes, start: int, end: int, size: int) -> tuple[tuple[int, int, int], int]:
    """Returns (first byte, count, stride) of the values in the field at `start`, and what follows."""
    found = field_at(data, start, end)
    if found.kind == LENGTH and (found.end - found.start) % size == 0:
        return (found.start, (found.end - found.start) // size, size), found.end
    if found.kind != (FIXED32 if size == 4 else FIXED64):
        raise WireError(f"no blob values at byte {start}")
    # Unpacked: every value has its own one-byte tag; take the whole run of equal tags at once.
    stride = size + 1
    tags = np.ndarray(
        ((end - start) // stride,), np.uint8, buffer=data, offset=start, strides=(stride,)
    )
    others = np.flatnonzero(tags != data[start])
    count = int(others[0]) if others.size else tags.size
    return (start + 1, count, stride), start + count * stride


def _dims(data: Bytes, start: int, end: int) -> list[int]:
    """Returns the extents in a BlobShape, packed or not."""
    dims: list[int] = []
    for found in fields(data, start, end):
        if found.number == 1 and found.kind == VARINT:
            dims.append(signed(found.value))
        elif found.number == 1 and found.kind == LENGTH:
            position = found.start
            while position < found.end:
                value, position = varint_at(data, position, found.end)
                dims.append(signed(value))
    return dims
