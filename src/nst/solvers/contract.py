"""What a solver needs from outside: a net to train, and someone who reads and writes weight files.

`nst.net.Net` satisfies `TrainableNet`. The doors (pycaffe, cli, style) bring a `WeightsFiles`, because
solvers may read and write solver states but know nothing of caffemodels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableSequence, Sequence
from os import PathLike
from typing import Any, Protocol

from nst.backend import Array, Backend
from nst.core.blob import Blob
from nst.core.layer import Layer
from nst.core.random import RandomSource

Bounds = tuple[Array | float | None, Array | float | None]
"""Lower and upper limit of one learnable blob, each broadcastable to its shape; None is no limit."""


class TrainableNet(Protocol):
    """The part of a net that solvers use. Learnable parameters are owners only, in net order."""

    name: str
    backend: Backend
    rng: RandomSource
    blobs: dict[str, Blob]
    layers: list[Layer]

    @property
    def after_forward(self) -> MutableSequence[Callable[[int], None]]:
        """Functions called with a layer's number when it has run forward."""
        ...

    @property
    def after_backward(self) -> MutableSequence[Callable[[int], None]]: ...

    @property
    def learnable_params(self) -> Sequence[Blob]: ...

    @property
    def params_lr(self) -> Sequence[float]:
        """`lr_mult` of each learnable parameter; 0 is frozen: its diff is never computed."""
        ...

    @property
    def params_weight_decay(self) -> Sequence[float]:
        """`decay_mult` of each learnable parameter."""
        ...

    @property
    def outputs(self) -> Sequence[str]: ...

    def bottoms_of(self, index: int) -> Sequence[Blob]: ...

    def tops_of(self, index: int) -> Sequence[Blob]: ...

    def clear_param_diffs(self) -> None: ...

    def forward_from_to(self) -> float:
        """Runs the whole net forward; returns the sum of its weighted losses."""
        ...

    def forward_backward(self) -> float:
        """Runs the net forward and backward, adding to the parameter diffs; returns the loss."""
        ...

    def loss_terms(self) -> Mapping[str, float]:
        """Weighted loss per loss blob, as of the last forward."""
        ...

    def find_non_finite(self) -> str:
        """Names the first layer and blob that hold a NaN or infinity; empty if all is finite."""
        ...

    def share_trained_layers_with(self, other: Any) -> None:
        """Uses the parameters of the equally named layers of another net."""
        ...


class WeightsFiles(Protocol):
    """Reads and writes the weights of a net; a path that ends in `.h5` means HDF5."""

    def save(self, net: Any, path: str | PathLike[str], *, diff: bool) -> None:
        """Writes the weights, with their diffs if asked."""
        ...

    def load(self, net: Any, path: str | PathLike[str]) -> None:
        """Puts the weights of a file into the net, by layer name."""
        ...
