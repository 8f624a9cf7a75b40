"""One array in a file of its own: mean pictures and infogain matrices (binaryproto)."""

from __future__ import annotations

import os
from typing import Any

from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from nst.errors import FileError
from nst.io.atomic import write_atomically
from nst.io.blob_proto import array_to_blob, blob_to_array
from nst.io.files import FilePath, read_bytes
from nst.io.signature import looks_like
from nst.io.wire import WireError
from nst.proto import BlobProto


def read_binaryproto(path: FilePath) -> NDArray[Any]:
    """Returns the array in a BlobProto file; a mean picture is (1, channels, height, width).

    Errors: FileError when there is no such file or it holds something else.
    """
    data = read_bytes(path)
    try:
        blob = blob_to_array(BlobProto.FromString(data))
    except (DecodeError, WireError) as error:
        what = looks_like(data[:256]) or "something else"
        raise FileError(f"no binaryproto: it looks like {what}", path=os.fspath(path)) from error
    if not blob.array.shape and not blob.legacy:
        raise FileError("no binaryproto: it holds no array", path=os.fspath(path))
    return blob.array


def write_binaryproto(path: FilePath, array: NDArray[Any]) -> None:
    """Writes the array as a BlobProto file. Errors: FileError."""
    write_atomically(path, array_to_blob(array).SerializeToString())
