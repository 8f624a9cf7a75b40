"""LMDB databases of Datum records, read in key order, round and round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from nst.errors import FileError, NetError
from nst.layers.sources.pictures import decode_picture
from nst.proto import Datum


class RecordReader:
    """The values of an LMDB database, one after the other; after the last comes the first again."""

    def __init__(self, path: str, *, layer: str) -> None:
        try:
            import lmdb
        except ImportError as error:
            raise NetError(
                "reading LMDB needs the package lmdb (got none). pip install 'nst-caffe[lmdb]'",
                layer=layer,
            ) from error
        try:
            self._environment = lmdb.open(
                path, readonly=True, lock=False, subdir=Path(path).is_dir(), create=False
            )
        except lmdb.Error as error:
            raise FileError(
                f"layer '{layer}': cannot open the database: {error}", path=path
            ) from error
        self._cursor = self._environment.begin().cursor()
        if not self._cursor.first():
            raise FileError(f"layer '{layer}': the database is empty (got 0 records)", path=path)

    def peek(self) -> bytes:
        """The record that `next` will return."""
        return bytes(self._cursor.value())

    def next(self) -> bytes:
        """The present record; moves on."""
        record = self.peek()
        self.skip(1)
        return record

    def skip(self, count: int) -> None:
        """Moves on by so many records."""
        for _ in range(count):
            if not self._cursor.next():
                self._cursor.first()


def decode_datum(record: bytes, is_color: bool | None, *, layer: str) -> tuple[NDArray[Any], int]:
    """Returns (values (C, H, W), label) of a serialised Datum.

    `is_color` forces encoded pictures to three channels or one; None keeps what they have.
    """
    datum = Datum()
    try:
        datum.ParseFromString(record)
    except DecodeError as error:
        raise NetError("a record is no Datum (got undecodable bytes)", layer=layer) from error
    if datum.encoded:
        picture = decode_picture(datum.data, is_color=is_color, path=f"record of layer '{layer}'")
        return picture, datum.label
    shape = (datum.channels, datum.height, datum.width)
    values: NDArray[Any] = np.frombuffer(datum.data, np.uint8)
    if not values.size:
        values = np.asarray(datum.float_data, np.float32)
    if values.size != int(np.prod(shape)) or not values.size:
        raise NetError(f"a Datum holds {values.size} values (expected {shape})", layer=layer)
    return values.reshape(shape), datum.label
