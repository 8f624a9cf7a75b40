"""VGG19 up to conv5_1, as the checks count it: layers, floating-point operations, bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One convolution: 3x3, stride 1, padding 1."""

    name: str
    inputs: int
    outputs: int
    reduction: int
    """How many times smaller than the picture its maps are, along each side."""

    def side(self, size: int) -> int:
        return -(-size // self.reduction)

    def flop(self, size: int) -> float:
        """Of one direction."""
        return 2.0 * 9 * self.inputs * self.outputs * self.side(size) ** 2


def _layers() -> Iterator[Layer]:
    channels = 3
    for block, (width, depth) in enumerate(((64, 2), (128, 2), (256, 4), (512, 4), (512, 1))):
        for number in range(depth):
            yield Layer(f"conv{block + 1}_{number + 1}", channels, width, 1 << block)
            channels = width


LAYERS = tuple(_layers())
STYLE = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
POOLED = ("conv1_2", "conv2_2", "conv3_4", "conv4_4")


def iteration_flop(size: int) -> float:
    """Forward, backward to the picture, five Gram matrices and their gradients."""
    grams = sum(
        2.0 * layer.outputs**2 * layer.side(size) ** 2 for layer in LAYERS if layer.name in STYLE
    )
    return 2 * sum(layer.flop(size) for layer in LAYERS) + 2 * grams


def roofline_seconds(size: int, flop_rate: float, byte_rate: float, item: int) -> float:
    """The least time of an iteration with perfect fusion: for each step the larger of arithmetic and traffic.

    item: bytes per value. ReLU and its mask are taken as part of the convolutions; a pooling keeps 3 bits per
    value; the optimiser's step is left out.
    """
    total = 0.0
    for layer in LAYERS:
        places = layer.side(size) ** 2
        into, out = layer.inputs * places * item, layer.outputs * places * item
        weights, arithmetic = 9 * layer.inputs * layer.outputs * item, layer.flop(size) / flop_rate
        total += max(arithmetic, (into + out + weights) / byte_rate)
        total += max(arithmetic, (2 * into + out + weights) / byte_rate)
        if layer.name in STYLE:
            product = 2.0 * layer.outputs**2 * places / flop_rate
            total += max(product, out / byte_rate) + max(product, 3 * out / byte_rate)
        if layer.name in POOLED:
            total += 2 * (out + out / 4 + layer.outputs * places / 4 * 3 / 8) / byte_rate
    return total
