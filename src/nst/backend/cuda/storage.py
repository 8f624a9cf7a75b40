"""Storages: how values are kept in memory, and as what numpy sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES: dict[str, Any] = {
    "fp32": np.float32,
    "fp64": np.float64,
    "fp16": np.float16,
    "bf16": np.uint16,  # numpy has no bfloat16: the upper half of the bits of a float32
}


def stored(values: NDArray[Any], storage: str) -> NDArray[Any]:
    """Values rounded to a storage, to the nearest, ties to even; NaN stays NaN."""
    if storage != "bf16":
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values, DTYPES[storage])
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), (bits >> 16) | 0x40, rounded).astype(np.uint16)
