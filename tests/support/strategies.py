"""Hypothesis strategies for small layers: geometries that fit their pictures, and values for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from nst.backend import ConvGeometry, PoolGeometry

Values = NDArray[Any]


@dataclass(frozen=True)
class ConvProblem:
    """Random values for one convolution."""

    x: Values
    w: Values
    bias: Values
    geometry: ConvGeometry


@dataclass(frozen=True)
class PoolProblem:
    """Random values for one pooling."""

    x: Values
    geometry: PoolGeometry


@st.composite
def conv_problems(draw: st.DrawFn, *, axes: int = 2) -> ConvProblem:
    """A convolution over `axes` spatial axes whose kernel fits into the padded picture."""
    group = draw(st.integers(1, 3))
    channels, outputs = draw(st.integers(1, 2)) * group, draw(st.integers(1, 3)) * group
    spatial, kernel, stride, pad, dilation = [], [], [], [], []
    for _ in range(axes):
        k, d, p = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 2))
        reach = d * (k - 1) + 1
        spatial.append(draw(st.integers(max(1, reach - 2 * p), 6)))
        kernel.append(k)
        dilation.append(d)
        pad.append(p)
        stride.append(draw(st.integers(1, 3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return ConvProblem(
        rng.normal(size=(draw(st.integers(1, 2)), channels, *spatial)),
        rng.normal(size=(outputs, channels // group, *kernel)),
        rng.normal(size=outputs),
        ConvGeometry(tuple(kernel), tuple(stride), tuple(pad), tuple(dilation), group),
    )


@st.composite
def pool_problems(draw: st.DrawFn) -> PoolProblem:
    """A pooling whose windows all meet the picture; values with many ties."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    stride = (draw(st.integers(1, kernel[0])), draw(st.integers(1, kernel[1])))
    pad = (draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1)))
    extent = [draw(st.integers(max(1, k - 2 * p), 7)) for k, p in zip(kernel, pad, strict=True)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(-2, 3, (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *extent))
    return PoolProblem(x.astype(np.float64), PoolGeometry(kernel, stride, pad))
