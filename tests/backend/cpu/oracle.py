"""What the CPU engine is measured against: the numpy reference in float64, and the measure itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend.geometry import ConvGeometry
from nst.backend.numpy_backend import NumpyBackend

REFERENCE = NumpyBackend()
LAYER_TOLERANCE = 1e-5
"""Relative RMS error allowed for one layer in float32 (F(6x6) Winograd is the least accurate kernel)."""

Array = NDArray[Any]


def relative_error(got: Array, expected: Array) -> float:
    """RMS of the difference over RMS of the expected values (over 1 if those are all zero); NaN if
    anything is NaN."""
    scale = np.sqrt(np.mean(np.square(expected, dtype=np.float64))) or 1.0
    return float(np.sqrt(np.mean(np.square(got.astype(np.float64) - expected))) / scale)


def normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape, dtype=np.float32)


def conv_output_shape(
    images: int, outputs: int, extent: tuple[int, int], g: ConvGeometry
) -> tuple[int, ...]:
    spatial = (
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, p, d, k, s in zip(extent, g.pad, g.dilation, g.kernel, g.stride, strict=True)
    )
    return (images, outputs, *spatial)
