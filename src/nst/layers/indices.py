"""Integers that travel in float blobs: labels, table rows, batch indices."""

from __future__ import annotations

from nst.backend import Array
from nst.core import Blob
from nst.errors import NetError


def read_indices(blob: Blob, limit: int, *, layer: str, ignore: int | None = None) -> Array:
    """Returns the blob's values as integers of its shape, on its backend.

    Raises NetError for one outside [0, limit) that is not `ignore`; Caffe reads wild memory there.
    """
    indices = blob.data.astype("int64")
    outside = (indices < 0) | (indices >= limit)
    if ignore is not None:
        outside &= indices != ignore
    if bool(outside.any()):
        wrong = int(indices[outside][0])
        raise NetError(
            f"blob '{blob.name}' holds an index out of range (got {wrong}, expected 0 to {limit - 1})",
            layer=layer,
        )
    return indices
