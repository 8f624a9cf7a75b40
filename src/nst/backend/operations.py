"""What a net tells a backend that runs whole nets: one frozen record per layer, and the runner's contract.

A backend may offer a *runner* (`Backend.runner`). The net's plan (nst.net.lowering) describes each layer
that a runner could take by an operation below; the runner computes it in a layout of its own, keeps the
values there and fills `Memory.pending`, so that whoever looks at a blob sees plain (N, C, H, W). A layer that
the runner declines runs by its own code. Records hold plain values, no arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nst.backend.geometry import ConvGeometry, PoolGeometry


@dataclass(frozen=True)
class Convolve:
    """Convolution with the layer's own weights and bias."""

    geometry: ConvGeometry
    rectified: bool
    """The next layer is a plain ReLU in place on the top: the two run as one."""
    keeps_gate: bool = False
    """Backward will ask where the rectified values are positive."""
    pooled: bool = False
    """A Pool that gates is all that reads the rectified values: they need not be written."""


@dataclass(frozen=True)
class Rectify:
    """ReLU."""

    slope: float
    defers_mask: bool
    """Backward, the layer before it that it runs as one with applies the mask while it reads the gradient. A
    convolution never writes the masked gradient, so this needs gradients that nobody asks for."""


@dataclass(frozen=True)
class BatchNormalise:
    """BatchNorm."""

    uses_stored: bool
    fraction: float
    eps: float
    joined: bool
    """The next layer is a Scale or plain ReLU in place on the top: they run as one."""
    keeps_input: bool
    """Backward needs the bottom's values, also where the layer works in place."""


@dataclass(frozen=True)
class ChannelScale:
    """Scale with a factor, and maybe a bias, per channel; `joined` and `keeps_input` as in BatchNormalise."""

    joined: bool
    keeps_input: bool


@dataclass(frozen=True)
class Pool:
    """Maximum or mean pooling; window None is the whole picture."""

    window: PoolGeometry | None
    takes_max: bool
    gates: bool = False
    """It runs as one with the rectified convolution before it: backward, its gradient goes there as it is,
    with its winners as a gate. The map between them never gets its gradient, so this needs gradients that
    nobody asks for."""


@dataclass(frozen=True)
class Normalise:
    """Local response normalisation across channels."""

    size: int
    alpha: float
    beta: float
    k: float


@dataclass(frozen=True)
class GramMatrix:
    """Inner products of feature maps, times `scale` and divided by H*W and C where asked."""

    scale: float
    per_pixel: bool
    per_channel: bool
    scales_gradient: bool


@dataclass(frozen=True)
class Fork:
    """Split: the tops are the bottom; their gradients are summed."""


@dataclass(frozen=True)
class Join:
    """Concatenation of channels."""

    holds_parts: bool = True
    """The bottoms' values may be ranges of the top's: no layer works in place on the top."""


@dataclass(frozen=True)
class AddUp:
    """Eltwise SUM: the weighted sum of maps of one shape."""

    factors: tuple[float, ...]
    rectified: bool
    """The next layer is a plain ReLU in place on the top: the two run as one going forward."""


@dataclass(frozen=True)
class Gate:
    """Event: the top is the bottom; the gradient passes where `gate` says: "feature" (where the bottom is
    positive) or "" (everywhere)."""

    gate: str


@dataclass(frozen=True)
class Multiply:
    """Scalar, Power, Dropout outside training: y = factor * x, dx = back * dy."""

    factor: float
    back: float


@dataclass(frozen=True)
class Distance:
    """EuclideanLoss: half the squared distance per image, of blobs of any rank."""


@dataclass(frozen=True)
class Border:
    """Pad: a border of `pads` (h, w) places; `mode` is the number of PadParameter.Mode."""

    pads: tuple[int, int]
    mode: int


Operation = (
    Convolve
    | Rectify
    | BatchNormalise
    | ChannelScale
    | Pool
    | Border
    | Normalise
    | GramMatrix
    | Fork
    | Join
    | AddUp
    | Gate
    | Multiply
    | Distance
)


@dataclass(frozen=True)
class Step:
    """One layer's place in a run."""

    index: int
    name: str
    operation: Operation


@dataclass(frozen=True)
class GradientSlots:
    """Which blobs' gradients may share a buffer, because one is dead before the next is born.

    slots: blob name -> buffer number; blobs that are not named have gradients of their own.
    sums: name of a blob -> the blob it was split from, in whose buffer its gradient is added up.
    """

    slots: Mapping[str, int]
    sums: Mapping[str, str]


class MemoryLike(Protocol):
    """nst.core.blob.Memory, as a runner sees it."""

    flat: Any
    pending: Callable[[], None] | None
    exposed: bool
    native: Any

    def raw(self, shape: tuple[int, ...], backend: Any, dtype: Any) -> Any: ...


class BlobLike(Protocol):
    """nst.core.Blob, as a runner sees it."""

    name: str
    backend: Any
    dtype: Any

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def count(self) -> int: ...
    @property
    def data(self) -> Any: ...
    @property
    def diff(self) -> Any: ...
    @property
    def data_memory(self) -> Any: ...
    @property
    def diff_memory(self) -> Any: ...


class Runner(Protocol):
    """Runs single layers of one net; both calls return False for a layer that it declines, and for step None:
    only its own code knows what it does. What that code may look at is there by then."""

    def forward(
        self,
        step: Step | None,
        bottom: Sequence[BlobLike],
        top: Sequence[BlobLike],
        params: Sequence[BlobLike],
    ) -> bool: ...

    def backward(
        self,
        step: Step | None,
        top: Sequence[BlobLike],
        propagate_down: Sequence[bool],
        bottom: Sequence[BlobLike],
        params: Sequence[BlobLike],
        params_propagate_down: Sequence[bool],
    ) -> bool: ...

    def flush(self) -> None:
        """Finishes what was put off to be fused with a next layer; called before a callback looks."""
        ...

    def finish(self) -> None:
        """Ends a forward or backward run."""
        ...
