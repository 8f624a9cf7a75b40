"""What a net tells a backend that compiles whole nets: a frozen record per layer; the program's contract.

A backend may offer programs (`Backend.program`). Besides the operations of runners (nst.backend.operations)
they know those below; a layer without an operation runs by its own code in the middle. Arrays come in through
blobs only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nst.backend.operations import BlobLike, Operation


@dataclass(frozen=True)
class TotalVariation:
    """TVLoss, over forward differences or nine points."""

    beta: float
    epsilon: float
    nine_point: bool


@dataclass(frozen=True)
class MeanMoments:
    """Moments of one bottom: means per channel times `mean_scale`, and with `full` the means of products."""

    mean_scale: float
    full: bool


@dataclass(frozen=True)
class MaskedMoments:
    """Moments of the region that the second bottom weighs."""

    mean_scale: float
    full: bool


@dataclass(frozen=True)
class MaskedGram:
    """Gram matrix of the region that the second bottom weighs, with `weights` "root" of the mask, or of the
    "share" that a place has of its sum; `scale` forward, `back` of the gradient."""

    scale: float
    back: float
    weights: str


@dataclass(frozen=True)
class Weigh:
    """Mask: the first bottom times the second, one weight per place."""


@dataclass(frozen=True)
class Inside:
    """Trim: what is more than `margins` (h, w) places from the edges."""

    margins: tuple[int, int]


@dataclass(frozen=True)
class RelativeDistance:
    """RelativeLoss of one image: squared distance over the target's own square."""


@dataclass(frozen=True)
class TargetGate:
    """Event: the top is the first bottom; the gradient passes where the second is not zero."""


@dataclass(frozen=True)
class WassersteinDistance:
    """WassersteinLoss with the ridge's `epsilon`; `relative`: over the target's mean square."""

    epsilon: float
    relative: bool


ProgramOperation = (
    TotalVariation
    | MeanMoments
    | MaskedMoments
    | MaskedGram
    | Weigh
    | Inside
    | RelativeDistance
    | TargetGate
    | WassersteinDistance
)
"""What programs know besides the operations of runners."""


@dataclass(frozen=True, eq=False)
class ProgramLayer:
    """One layer of a net that is compiled as a whole (`Backend.program`)."""

    index: int
    name: str
    operation: Operation | ProgramOperation | None
    """None: only the layer's own code will do. It then sees planar blobs."""
    source: str
    """What feeds the net: "input" (the user writes it between runs), "parameter" (learned); else empty."""
    bottoms: tuple[int, ...]
    tops: tuple[int, ...]
    """Numbers of the blobs; equal numbers are one blob."""
    bottom_blobs: tuple[BlobLike, ...]
    top_blobs: tuple[BlobLike, ...]
    params: tuple[BlobLike, ...]
    wants: tuple[bool, ...]
    """Which bottoms get a gradient; parameters get none."""
    runs_backward: bool
    keeps: tuple[bool, ...]
    """Which tops' values are to be there after a run."""
    is_loss: tuple[bool, ...]
    """Which tops are scalars of the loss, whose diff is their weight."""
    forward: Callable[[], None]
    backward: Callable[[], None]
    """The layer's own code."""


class Program(Protocol):
    """A compiled net. Inner values and gradients are kept only where the net's plan keeps them."""

    def is_current(self) -> bool:
        """Whether shapes and memories are still those that it was compiled for."""
        ...

    def forward(self) -> None: ...
    def backward(self) -> None:
        """After `forward`."""
        ...

    def forward_backward(self) -> None: ...
    def forget(self) -> None:
        """The net's layers take over from the first: blobs hold what these write."""
        ...

    def loss_terms(self) -> dict[str, float]:
        """The weighted losses of the last run by blob; waits for it."""
        ...
