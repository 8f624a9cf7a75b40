"""The layer contract: what every prototxt type implements, and what the net does for it.

    setup(bottom_shapes)               read the parameters once, create and fill the parameter blobs
    top_shapes(bottom_shapes)          pure: shapes in, shapes out
    forward(bottom, top)               write top data
    backward(top, propagate_down, bottom)
                                       overwrite bottom diffs where propagate_down says so,
                                       add to parameter diffs where params_propagate_down says so

A layer never looks at its device: elementwise work uses `self.backend.xp`, the rest are backend members.
Order in every layer file: docstring, class, setup, top_shapes, forward, backward, private parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

from nst.backend import Backend
from nst.core.blob import Blob
from nst.core.filler import fill
from nst.core.random import RandomSource
from nst.core.shapes import Shape
from nst.errors import NetError, ShapeError
from nst.proto import TEST, TRAIN, FillerParameter, LayerParameter


@dataclass(frozen=True)
class Arity:
    """How many blobs a layer takes or makes; `most` None means any number from `least` up."""

    least: int
    most: int | None

    @classmethod
    def exactly(cls, number: int) -> Arity:
        return cls(number, number)

    @classmethod
    def at_least(cls, number: int) -> Arity:
        return cls(number, None)

    @classmethod
    def between(cls, least: int, most: int) -> Arity:
        return cls(least, most)

    def allows(self, number: int) -> bool:
        return number >= self.least and (self.most is None or number <= self.most)

    def __str__(self) -> str:
        if self.most == self.least:
            return f"exactly {self.least}"
        return f"at least {self.least}" if self.most is None else f"{self.least} to {self.most}"


@dataclass(frozen=True)
class LayerContext:
    """What a layer is given besides its own parameters; the net passes it in."""

    backend: Backend
    dtype: DTypeLike = np.float32
    phase: int = TEST
    rng: RandomSource = field(default_factory=RandomSource)
    allow_python: bool = False
    """Whether PYTHON layers may import and run code."""
    solver_rank: int = 0
    """Which of several data-parallel workers this is; data layers skip records by it."""


class Layer(ABC):
    """One operation of a net. Subclasses are found by `type` in `nst.layers.LAYERS`."""

    type: ClassVar[str]
    bottoms: ClassVar[Arity] = Arity.exactly(1)
    tops: ClassVar[Arity] = Arity.exactly(1)
    same_number: ClassVar[bool] = False
    """As many tops as bottoms."""
    is_loss: ClassVar[bool] = False
    """Top 0 is a loss: weight 1 by default, and a top of its own if the prototxt names none."""
    allows_in_place: ClassVar[bool] = False
    """Whether a top may be the bottom itself."""
    reshapes_every_time: ClassVar[bool] = False
    """Top shapes depend on values, not only on bottom shapes (Filter, data layers)."""
    is_source: ClassVar[bool] = False
    """Makes its tops from outside the net: Input, Parameter and the data layers."""

    def __init__(self, param: LayerParameter, context: LayerContext) -> None:
        self.param = param
        self.name: str = param.name
        self.context = context
        self.backend = context.backend
        self.phase: int = param.phase if param.HasField("phase") else context.phase
        self.params: list[Blob] = []
        self.params_propagate_down: list[bool] = []
        self.loss_weights: list[float] = []
        self.top_is_overwritten = False
        """Set by the net: a later layer works in place on a top, so backward must not read it."""

    @property
    def blobs(self) -> list[Blob]:
        """`params` by Caffe's name for them."""
        return self.params

    # ---- what a layer type writes --------------------------------------------------------------

    @abstractmethod
    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        """Reads and checks `self.param`; creates parameter blobs with `add_param`."""

    @abstractmethod
    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        """Shapes of the tops for bottoms of these shapes; raises ShapeError if they do not fit."""

    @abstractmethod
    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Computes top data from bottom data."""

    @abstractmethod
    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        """Computes bottom diffs (overwriting) and parameter diffs (adding) from top diffs."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Gives the tops their shapes; layers that share memory or keep scratch extend it."""
        for blob, shape in zip(top, self.top_shapes([b.shape for b in bottom]), strict=True):
            blob.reshape(*shape)

    def allows_force_backward(self, bottom_index: int) -> bool:
        """Whether `force_backward` may ask for the gradient of this bottom (not of labels)."""
        return True

    # ---- what the contract does for every type -------------------------------------------------

    def check_arity(self, bottom_count: int, top_count: int) -> None:
        """Raises NetError, in Caffe's words, if the layer was wired with a wrong number of blobs."""
        for arity, number, noun, role in (
            (self.bottoms, bottom_count, "bottom", "takes {} {} blob(s) as input"),
            (self.tops, top_count, "top", "produces {} {} blob(s) as output"),
        ):
            if not arity.allows(number):
                wanted = role.format(arity, noun).replace("exactly ", "")
                raise NetError(
                    f"{self.type} Layer {wanted} (got {number}, expected {arity})", layer=self.name
                )
        if self.same_number and bottom_count != top_count:
            raise NetError(
                f"{self.type} Layer produces one top blob for each bottom blob "
                f"(got {bottom_count} bottoms and {top_count} tops)",
                layer=self.name,
            )

    def check_in_place(self, is_in_place: bool) -> None:
        """Raises NetError if a top is also a bottom and this type cannot work that way."""
        if is_in_place and not self.allows_in_place:
            raise self.net_error(
                f"{self.type} Layer does not allow in-place computation. (got top "
                f"'{self.param.top[0]}' that is also its bottom). Give the top a name of its own"
            )

    def read_loss_weights(self, top_count: int) -> list[float]:
        """One weight per top: as given, else 1 for the first top of a loss layer and 0 elsewhere."""
        given = list(self.param.loss_weight)
        if given and len(given) != top_count:
            raise self.net_error(
                "loss_weight must be unspecified or specified once per top blob. "
                f"(got {len(given)}, expected {top_count})"
            )
        return given or [float(self.is_loss and j == 0) for j in range(top_count)]

    def add_param(
        self, shape: Shape, filler: FillerParameter | None = None, *, suffix: str = ""
    ) -> Blob:
        """Creates the next parameter blob, filled by `filler` (zeros without one)."""
        name = f"{self.name}[{len(self.params)}]{suffix}"
        blob = Blob(self.backend, shape, dtype=self.context.dtype, name=name)
        if filler is not None:
            fill(blob, filler, self.context.rng, layer=self.name)
        self.params.append(blob)
        self.params_propagate_down.append(True)
        return blob

    def describe(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> str:
        """One line for the log: name, blobs in and out with their shapes, number of parameters."""
        reads = " ".join(f"{blob.name} {blob.shape}" for blob in bottom)
        writes = " ".join(f"{blob.name} {blob.shape}" for blob in top)
        return f"{self.name}  {reads} -> {writes}  params {sum(b.count for b in self.params):,}"

    def new_blob(self, shape: Shape = (), name: str = "") -> Blob:
        """A blob for the layer's own use, on its backend and in its dtype."""
        return Blob(
            self.backend, shape, dtype=self.context.dtype, name=name or f"{self.name} scratch"
        )

    def shape_error(self, message: str) -> ShapeError:
        """A ShapeError that names this layer."""
        return ShapeError(message, layer=self.name)

    def net_error(self, message: str) -> NetError:
        """A NetError that names this layer."""
        return NetError(message, layer=self.name)


class NotDifferentiable(Layer):
    """Base of layers without a gradient: asking for one is an error at once, named and explained."""

    def allows_force_backward(self, bottom_index: int) -> bool:
        return False

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if any(propagate_down):
            raise self.net_error(
                f"{self.type} has no gradient. Set propagate_down: false on its bottom, or keep it "
                "out of the path to the loss"
            )


__all__ = ["TEST", "TRAIN", "Arity", "Layer", "LayerContext", "NotDifferentiable"]
