"""pycaffe's caffe.io: pictures as pycaffe holds them, crops, and BlobProto and Datum as arrays.

A picture here is (H, W, C), R G B, float32, 0 to 1. `Transformer` makes it what a net wants.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.errors import ShapeError, UsageError
from nst.io.blob_proto import array_to_blob, blob_to_array, blob_to_diff
from nst.io.images import read_picture
from nst.proto import BlobProto, BlobProtoVector, Datum
from nst.pycaffe.proto import caffe_pb2
from nst.pycaffe.resize import resize_image
from nst.pycaffe.transformer import Transformer

Array = NDArray[Any]

_GREY = np.array([0.2125, 0.7154, 0.0721], np.float32)  # luminance of R, G, B (ITU-R BT.709)


def load_image(filename: str | PathLike[str], color: bool = True) -> NDArray[np.float32]:
    """Reads a picture file: (H, W, 3), or (H, W, 1) luminance without `color`; float32, 0 to 1.

    It comes upright, in sRGB, and transparency over white; pycaffe's reader ignores all three. Raises
    ImageError.
    """
    rgb: NDArray[np.float32] = read_picture(Path(filename)).rgb / np.float32(255)
    if color:
        return rgb
    luminance: NDArray[np.float32] = rgb @ _GREY
    return luminance[:, :, np.newaxis]


def oversample(images: Iterable[Array], crop_dims: Sequence[int]) -> NDArray[np.float32]:
    """Cuts each (H, W, C) picture into ten: four corners and the centre, then their mirror images.

    Returns (10 x pictures, crop height, crop width, C), the ten of one picture in a row. Raises ShapeError
    when the crop does not fit.
    """
    images = list(images)
    if not images:
        raise UsageError("oversample: no pictures (got an empty list)")
    height, width = (int(side) for side in crop_dims)
    room = np.array(images[0].shape[:2]) - (height, width)
    if (room < 0).any() or any(image.shape != images[0].shape for image in images):
        shapes = sorted({image.shape for image in images})
        raise ShapeError(
            f"oversample: got pictures of {shapes}, expected one shape of at least {(height, width)}"
        )
    down, right = (int(side) for side in room)
    corners = [(top, left) for top in (0, down) for left in (0, right)]
    places = [*corners, (down // 2, right // 2)]
    crops = []
    for image in images:
        five = [image[top : top + height, left : left + width] for top, left in places]
        crops += five + [crop[:, ::-1] for crop in five]
    return np.stack(crops).astype(np.float32)


def blobproto_to_array(blob: BlobProto, return_diff: bool = False) -> Array:
    """Returns the values of a BlobProto, or its gradient, as float64 of its shape.

    Raises ShapeError when the values are not as many as the shape says.
    """
    try:
        array = blob_to_diff(blob) if return_diff else blob_to_array(blob).array
    except ValueError as error:
        raise ShapeError(f"blobproto_to_array: {error}") from error
    if array is None:
        raise ShapeError("blobproto_to_array: the blob has no diff (expected one)")
    return array.astype(np.float64)


def array_to_blobproto(arr: Array, diff: Array | None = None) -> BlobProto:
    """Returns the array, and its gradient if given, as a float32 BlobProto of any number of axes."""
    gradient = None if diff is None else np.asarray(diff, np.float32)
    return array_to_blob(np.asarray(arr, np.float32), gradient)


def arraylist_to_blobprotovector_str(arraylist: Iterable[Array]) -> bytes:
    """Returns several arrays as the bytes of a BlobProtoVector."""
    vector = BlobProtoVector(blobs=[array_to_blobproto(array) for array in arraylist])
    return vector.SerializeToString()


def blobprotovector_str_to_arraylist(text: bytes) -> list[Array]:
    """Returns the arrays in the bytes of a BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in BlobProtoVector.FromString(text).blobs]


def array_to_datum(arr: Array, label: int | None = None) -> Datum:
    """Returns (C, H, W) values as a Datum: uint8 as bytes, everything else as floats."""
    arr = np.asarray(arr)
    if arr.ndim != 3:
        raise ShapeError(f"Incorrect array shape. (got {arr.shape}, expected (C, H, W))")
    datum = Datum(channels=arr.shape[0], height=arr.shape[1], width=arr.shape[2])
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(np.float32).ravel().tolist())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: Datum) -> Array:
    """Returns the (C, H, W) values of a Datum: uint8, or float64 if it holds floats.

    Raises ShapeError when they are not as many as its extents say, UsageError for an encoded picture.
    """
    shape = (datum.channels, datum.height, datum.width)
    if datum.encoded:
        raise UsageError(
            "datum_to_array: the datum holds a picture file (got encoded: true, expected values). "
            "Open its bytes with Pillow: Image.open(io.BytesIO(datum.data))"
        )
    if datum.data:
        values: Array = np.frombuffer(datum.data, np.uint8)
    else:
        values = np.array(datum.float_data, np.float64)
    if values.size != np.prod(shape):
        raise ShapeError(f"datum_to_array: got {values.size} values, expected {shape}")
    return values.reshape(shape)


__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "caffe_pb2",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize_image",
]
