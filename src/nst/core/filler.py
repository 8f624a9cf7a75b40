"""Fillers: how a parameter blob gets its first values (Caffe's filler.hpp).

    constant            value
    uniform             [min, max]
    gaussian            N(mean, std^2); `sparse` > 0 keeps about that many inputs per output
    positive_unitball   uniform [0, 1], every row divided by its sum
    xavier              uniform +-sqrt(3 / n)
    msra                N(0, 2 / n)
    bilinear            interpolation kernel of a square deconvolution

n is fan_in = count / shape[0], fan_out = count / shape[1], or their mean, by `variance_norm`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.core.blob import Blob
from nst.core.random import RandomSource
from nst.core.shapes import Shape
from nst.errors import BackendError, NetError, did_you_mean
from nst.proto import FillerParameter

Values = NDArray[np.float32]


def fill(blob: Blob, filler: FillerParameter, rng: RandomSource, *, layer: str = "") -> None:
    """Fills blob.data by the filler's rule; raises NetError for an unknown or unfitting one."""
    make = FILLERS.get(filler.type)
    if make is None:
        raise NetError(
            f"unknown filler type (got {filler.type!r}, expected one of {', '.join(FILLERS)})."
            f"{did_you_mean(filler.type, FILLERS)}",
            layer=layer,
        )
    if filler.sparse != -1 and filler.type != "gaussian":
        raise NetError(
            f"only the gaussian filler can be sparse (got {filler.type!r} with sparse: "
            f"{filler.sparse})",
            layer=layer,
        )
    try:
        values = make(filler, blob.shape, rng, layer)
    except MemoryError as error:
        gigabytes = blob.count * 4 / 1e9
        raise BackendError(
            f"layer '{layer}': out of memory (asked for {gigabytes:,.1f} GB for a parameter of "
            f"shape {blob.shape})"
        ) from error
    blob.data[...] = blob.backend.asarray(values.reshape(blob.shape), blob.dtype)


def _constant(filler: FillerParameter, shape: Shape, rng: RandomSource, layer: str) -> Values:
    return np.full(shape, filler.value, np.float32)


def _uniform(filler: FillerParameter, shape: Shape, rng: RandomSource, layer: str) -> Values:
    return rng.uniform(filler.min, filler.max, math.prod(shape))


def _gaussian(filler: FillerParameter, shape: Shape, rng: RandomSource, layer: str) -> Values:
    values = rng.gaussian(filler.mean, filler.std, math.prod(shape))
    if filler.sparse >= 0:
        # SOURCE: GaussianFiller; each value is kept with probability sparse / number of outputs
        outputs = shape[0] if shape else 1
        values *= rng.keep_mask(filler.sparse / outputs, values.size)
    return values


def _positive_unitball(
    filler: FillerParameter, shape: Shape, rng: RandomSource, layer: str
) -> Values:
    rows = rng.uniform(0.0, 1.0, math.prod(shape)).reshape(*(shape[:1] or (1,)), -1)
    totals = np.add.accumulate(rows, axis=1)[:, -1:]  # one by one like Caffe: bit for bit its sums
    return np.asarray(rows / totals, np.float32)


def _xavier(filler: FillerParameter, shape: Shape, rng: RandomSource, layer: str) -> Values:
    scale = math.sqrt(3.0 / _fan(filler, shape))
    return rng.uniform(-scale, scale, math.prod(shape))


def _msra(filler: FillerParameter, shape: Shape, rng: RandomSource, layer: str) -> Values:
    return rng.gaussian(0.0, math.sqrt(2.0 / _fan(filler, shape)), math.prod(shape))


def _bilinear(filler: FillerParameter, shape: Shape, rng: RandomSource, layer: str) -> Values:
    if len(shape) != 4 or shape[2] != shape[3]:
        raise NetError(
            f"bilinear filler needs a 4-D blob with square kernels (got shape {shape})", layer=layer
        )
    side = shape[3]
    reach = math.ceil(side / 2.0)
    centre = (2 * reach - 1 - reach % 2) / (2.0 * reach)
    ramp = 1 - np.abs(np.arange(side) / reach - centre)
    return np.broadcast_to(np.outer(ramp, ramp), shape).astype(np.float32)


def _fan(filler: FillerParameter, shape: Shape) -> float:
    total = math.prod(shape)
    fan_in = total / shape[0] if shape else 1.0
    fan_out = total / shape[1] if len(shape) > 1 else float(total)
    norms = {
        FillerParameter.FAN_IN: fan_in,
        FillerParameter.FAN_OUT: fan_out,
        FillerParameter.AVERAGE: (fan_in + fan_out) / 2,
    }
    return norms[filler.variance_norm]


_Maker = Callable[[FillerParameter, Shape, RandomSource, str], NDArray[Any]]

FILLERS: dict[str, _Maker] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
"""Filler by its prototxt name."""
