"""The Python layer of the training net: cuts crops out of tiles, recolours and spoils them.

    bottom  tile (n, 3, h, w) BGR 0..255, label (n,)
    top     data (n, 3, side, side) minus the mean, label (n,)

A crop has a little noise on it. With `again` it is shown a second time in the iteration that follows, after
a step along the gradient that the first iteration sent back: towards what the network mistakes for
another texture. A painting is made by following that gradient, so a network that can be fooled by fine
grain paints grain. (Keeping the gradient that training computes anyway makes this cost nothing: Shafahi et
al. 2019, "Adversarial training for free!", arXiv 1904.12843.)

In the phase TEST the crop is the middle of the tile, as it is. Settings, as JSON in param_str: side,
again = false, seed = 1.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from network import MEAN
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from nst.pycaffe import TRAIN, Layer

Array = NDArray[np.float32]
NOISE = (0.5, 8.0)
STEP = (0.5, 4.0)
"""Root mean squares, of 255, of the noise and of the step along the gradient."""


class Spoil(Layer):
    """See the module."""

    def setup(self, bottom: Any, top: Any) -> None:
        settings = json.loads(self.param_str)
        self.side, self.again = int(settings["side"]), bool(settings.get("again"))
        self.rng = default_rng([int(settings.get("seed", 1)), int(self.phase)])
        self.gradient: Array | None = None
        self.repeats = False

    def reshape(self, bottom: Any, top: Any) -> None:
        top[0].reshape(bottom[0].shape[0], 3, self.side, self.side)
        top[1].reshape(bottom[0].shape[0])

    def forward(self, bottom: Any, top: Any) -> None:
        tiles, labels = bottom[0].data, bottom[1].data
        if self.phase != TRAIN:
            self._show(top, centre(tiles, self.side), labels)
            return
        self.repeats = self.gradient is not None
        if self.gradient is None:
            self.crops = recolour(self.rng, random_crops(self.rng, tiles, self.side))
            self.labels = labels.copy()
            push = grain(self.rng, self.crops.shape) * strength(self.rng, len(tiles), NOISE)
        else:  # the tiles of this turn go unused: their order is random anyway
            push = unit(self.gradient) * strength(self.rng, len(tiles), STEP)
            self.gradient = None
        self._show(top, self.crops + push, self.labels)

    def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
        """Keeps the gradient of the crops for the next forward; the tiles need none."""
        keep = self.again and not self.repeats
        self.gradient = top[0].diff.copy() if keep else None

    def _show(self, top: Any, crops: Array, labels: Array) -> None:
        top[0].data[...] = crops - np.array(MEAN, np.float32)[:, None, None]
        top[1].data[...] = labels


def centre(tiles: Array, side: int) -> Array:
    y, x = (tiles.shape[2] - side) // 2, (tiles.shape[3] - side) // 2
    return tiles[:, :, y : y + side, x : x + side]


def random_crops(rng: Generator, tiles: Array, side: int) -> Array:
    """One square out of every tile, half of them mirrored."""
    crops = np.empty((*tiles.shape[:2], side, side), np.float32)
    for crop, tile in zip(crops, tiles, strict=True):
        y, x = (int(rng.integers(length - side + 1)) for length in tile.shape[1:])
        cut = tile[:, y : y + side, x : x + side]
        crop[...] = cut[:, :, ::-1] if rng.random() < 0.5 else cut
    return crops


def recolour(rng: Generator, crops: Array) -> Array:
    """Random contrast, brightness, channel gains and, at times, channel order; in 0..255."""
    count = len(crops)
    gains = rng.uniform(0.6, 1.3, (count, 1)) * rng.normal(1, 0.15, (count, 3))
    shift = rng.normal(0, 20, (count, 1))
    for crop in crops:
        if rng.random() < 0.35:
            crop[...] = crop[rng.permutation(3)]
    crops -= 128
    crops *= gains[:, :, None, None].astype(np.float32)
    crops += 128 + shift[:, :, None, None].astype(np.float32)
    return np.clip(crops, 0, 255, out=crops)


def grain(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Noise of root mean square 1: coloured or grey, white or fine only."""
    noise = rng.standard_normal(shape, np.float32)
    for sample in noise:
        if rng.random() < 0.4:
            sample[...] = sample.mean(0)
        if rng.random() < 0.5:
            sample -= neighbourhood(sample)
    return unit(noise)


def neighbourhood(x: Array) -> Array:
    """Mean over 3x3, the picture going on periodically; (c, h, w)."""
    rows = x + np.roll(x, 1, 1) + np.roll(x, -1, 1)
    mean: Array = (rows + np.roll(rows, 1, 2) + np.roll(rows, -1, 2)) / np.float32(9)
    return mean


def unit(x: Array) -> Array:
    """Each sample scaled to root mean square 1."""
    rms = np.sqrt(np.square(x).mean((1, 2, 3), keepdims=True))
    return x / (rms + np.float32(1e-12))


def strength(rng: Generator, count: int, limits: tuple[float, float]) -> Array:
    """Values between the limits, evenly spread on a logarithmic scale, (count, 1, 1, 1)."""
    return np.exp(rng.uniform(*np.log(limits), (count, 1, 1, 1))).astype(np.float32)
