"""What a convolution or pooling window looks like: plain frozen integers, one entry per spatial axis."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConvGeometry:
    """Sliding window of a convolution; every tuple has one entry per spatial axis (H, W for pictures)."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    group: int = 1


@dataclass(frozen=True)
class PoolGeometry:
    """Sliding window of a pooling over (H, W)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
