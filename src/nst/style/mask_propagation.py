"""Masks of the picture at the resolution of every tap: by the net's own geometry, averaged over areas.

A place of a feature map belongs to the cell of the picture around the centre of its window, as wide as the
distance to the next place; its weight is the mean of the mask over that cell. The cells are followed layer
by layer, through strides, dilation, padding and Caffe's pooling, which rounds up; the cells of neighbours
touch, so masks that sum to 1 in the picture sum to 1 at every tap.

Resizing a mask to the size of the map is not the same: a map is not the picture scaled down. Without padding
its first place lies inside, and a pooling that rounds up adds a place beyond the edge. Means over whole
receptive fields, of which the guides of Gatys et al. 2017 are thresholds, were painted side by side: colours
bleed as far over a border, but small regions have no place of their own in deep layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.core import Layer
from nst.errors import UsageError
from nst.layers.convolution import Convolution
from nst.layers.pad import Pad
from nst.layers.pooling import Pooling
from nst.layers.trim import Trim
from nst.net import Net
from nst.proto import PadParameter

Array = NDArray[Any]


def masks_at(net: Net, image: str, masks: Array, taps: Iterable[str]) -> dict[str, Array]:
    """The masks (R, H, W) of a picture at the taps of a net that has the picture's size: (R, h, w) each.

    Raises UsageError for a tap to which no places of the picture can be followed.
    """
    numbers = {name: number for number, name in enumerate(net.wiring.blob_names)}
    maps: dict[int, Array] = {numbers[image]: masks}
    for planned, layer in zip(net.wiring.layers, net.layers, strict=True):
        sources = [maps[number] for number in planned.bottoms if number in maps]
        if len(sources) == len(planned.bottoms) and sources:
            for number in planned.tops:
                found = _through(layer, sources, net.blob_list[number].shape)
                if found is not None:
                    maps[number] = found
    missing = [tap for tap in taps if numbers[tap] not in maps]
    if missing:
        raise UsageError(
            f"layer '{missing[0]}': a mask cannot be followed there from the picture (expected feature "
            "maps behind convolutions, poolings and layers that keep the places)"
        )
    return {tap: maps[numbers[tap]] for tap in taps}


def _through(layer: Layer, sources: Sequence[Array], shape: Sequence[int]) -> Array | None:
    """The masks behind one layer whose top has this shape, or None if the places are lost."""
    masks = sources[0]
    if isinstance(layer, Convolution) and layer.spatial_axes == 2:
        g = layer.geometry
        for axis in (0, 1):
            kernel = g.dilation[axis] * (g.kernel[axis] - 1) + 1
            window = kernel, g.stride[axis], g.pad[axis]
            masks = _averaged(masks, axis + 1, window, shape[axis + 2])
        return masks
    if isinstance(layer, Pooling) and not layer.is_global:
        w = layer.window
        for axis in (0, 1):
            window = w.kernel[axis], w.stride[axis], w.pad[axis]
            masks = _averaged(masks, axis + 1, window, shape[axis + 2])
        return masks
    if isinstance(layer, Pad):
        border = [(0, 0), *((pad, pad) for pad in layer.pads)]
        return np.pad(masks, border, "wrap" if layer.mode == PadParameter.CIRCULAR else "edge")
    if isinstance(layer, Trim):
        height, width = layer.margins((1, 1, *masks.shape[1:]))
        return masks[:, height : masks.shape[1] - height, width : masks.shape[2] - width]
    if any(source.shape[1:] != tuple(shape[2:]) for source in sources):
        return None
    return masks if len(sources) == 1 else np.mean(sources, axis=0)


def _averaged(masks: Array, axis: int, window: tuple[int, int, int], places: int) -> Array:
    """Means along an axis over the cells of the places of a window (kernel, stride, pad)."""
    kernel, stride, pad = window
    size = masks.shape[axis]
    if stride == 1 and kernel == 2 * pad + 1 and places == size:
        return masks
    centres = np.arange(places) * stride - pad + kernel / 2
    low, high = (np.clip(centres + side * stride / 2, 0, size) for side in (-1, 1))
    beyond = high - low < 1e-6  # all of the cell is border: it counts as the nearest pixel
    nearest = np.clip(np.floor(centres), 0, size - 1)
    low, high = np.where(beyond, nearest, low), np.where(beyond, nearest + 1, high)
    lines = np.moveaxis(masks, axis, -1).astype(np.float64)
    sums = np.concatenate([np.zeros((*lines.shape[:-1], 1)), lines.cumsum(axis=-1)], axis=-1)
    means = (_at(sums, high) - _at(sums, low)) / (high - low)
    return np.asarray(np.moveaxis(means, -1, axis), masks.dtype)


def _at(sums: Array, where: Array) -> Array:
    """Running sums (..., size + 1) at fractional places, linear in between."""
    below = np.minimum(np.floor(where).astype(int), sums.shape[-1] - 2)
    share = where - below
    return np.asarray((1 - share) * sums[..., below] + share * sums[..., below + 1])
