"""Reads one array from a binaryproto file: a mean picture, an infogain matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from nst.errors import FileError
from nst.proto import BlobProto


def read_blob_file(path: str) -> NDArray[Any]:
    """Returns the values in their shape, legacy 4-D shapes included. Raises FileError."""
    blob = BlobProto()
    try:
        blob.ParseFromString(Path(path).read_bytes())
    except OSError as error:
        raise FileError(f"cannot read the blob: {error.strerror or error}", path=path) from error
    except DecodeError as error:
        raise FileError("is no BlobProto (got undecodable bytes)", path=path) from error
    values = np.asarray(
        blob.double_data or blob.data, np.float64 if blob.double_data else np.float32
    )
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else legacy
    if values.size == 0 or int(np.prod(shape)) != values.size:
        raise FileError(f"holds no array (got {values.size} values for shape {shape})", path=path)
    return values.reshape(shape)
