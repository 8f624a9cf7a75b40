"""What is computed: values in one of two layouts, the gates of ReLUs, and the terms of a gradient."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from nst.backend.cuda.program.places import Buffer, Pinned, Place


@dataclass(eq=False)
class Value:
    """A blob's values at one moment of a run, or a gradient.

    A map is (N, H, W, channels padded to a multiple of 8) in the storage of the precision mode and holds
    the real values times 2^exponent; planes are the blob's shape in fp32 as they are.
    """

    shape: tuple[int, ...]
    place: Place
    is_map: bool
    exponent: int = 0

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def padded(self) -> int:
        """Channels in memory."""
        return padded(self.shape[1])

    @property
    def positions(self) -> int:
        """Pixels of all images."""
        return self.shape[0] * self.shape[2] * self.shape[3]

    @property
    def groups(self) -> int:
        """Groups of 8 values, what one thread of most kernels handles."""
        return self.positions * self.padded // 8 if self.is_map else self.count // 8

    @property
    def in_groups(self) -> bool:
        """Whether the kernels that work by groups take it: planes may have a rest."""
        return self.is_map or self.count % 8 == 0


def padded(channels: int) -> int:
    """Channels that a map has in memory."""
    return -(-channels // 8) * 8


@dataclass(eq=False)
class Gate:
    """Where a gradient passes a ReLU: where `values` are positive, or where `bits` say so. With neither,
    the max
    pooling that alone reads the ReLU knows it (`by_pool`)."""

    values: Value | None = None
    bits: Buffer | Pinned | None = None
    slope: float = 0.0
    by_pool: bool = False


@dataclass(frozen=True)
class Roots:
    """What a Wasserstein distance of C channels leaves to its gradient, in double (wasserstein.py)."""

    target: Pinned
    """Mean (C), trace, ridge, factor of the loss, and R (C, C), the root of the target's covariance."""
    moments: Value
    square: Buffer
    """|M|^2 of M = R S R."""
    inverse: Place
    """(M / |M|)^-1/2."""


class Term(ABC):
    """One of the summands of a blob's gradient; put on the tape when the sum is needed."""

    is_map: bool = True
    can_add: bool = False

    @abstractmethod
    def emit(self, out: Value, adds: bool, gate: Gate | None) -> bool:
        """Writes the term to `out`, or adds it; returns whether the gate was applied on the way.

        With a gate, all of `out` passes it, what was there before included.
        """
