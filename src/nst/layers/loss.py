"""Loss: base of the losses that compare predictions with labels; and what classification losses share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nst.backend import Array
from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import count
from nst.errors import ShapeError
from nst.layers.indices import read_indices
from nst.proto import LossParameter

LOG_FLOOR = 1e-20
"""Caffe's kLOG_THRESHOLD: probabilities are taken as at least this before a logarithm."""


class Loss(Layer):
    """Two bottoms of one batch size, prediction and label; a scalar top. Caffe's LossLayer."""

    bottoms = Arity.exactly(2)
    is_loss = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        return None

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        self.check_batch(bottom_shapes)
        return [()]

    def allows_force_backward(self, bottom_index: int) -> bool:
        return bottom_index != 1

    def check_batch(self, bottom_shapes: Sequence[Shape]) -> None:
        """Raises ShapeError unless all bottoms have the same first extent."""
        first = bottom_shapes[0]
        for shape in bottom_shapes[1:]:
            if shape[:1] != first[:1]:
                raise self.shape_error(
                    "The data and label should have the same first dimension. "
                    f"(got {first} and {shape})"
                )

    def refuse_labels(self, propagate_down: Sequence[bool], noun: str = "label") -> None:
        """Raises NetError if a gradient of anything but the first bottom is asked for."""
        if any(propagate_down[1:]):
            raise self.net_error(
                f"{self.type} Layer cannot backpropagate to {noun} inputs. "
                "Set propagate_down: false on that bottom"
            )


class ClassLabels:
    """One label per prediction: scores (outer, classes, inner) along an axis, labels (outer, inner)."""

    def __init__(self, shape: Shape, axis: int) -> None:
        self.outer = count(shape, 0, axis)
        self.classes = shape[axis]
        self.inner = count(shape, axis + 1)

    def check(self, shape: Shape, labels: Shape, layer: str) -> None:
        """Raises ShapeError, in Caffe's words, unless there is one label per prediction."""
        if count(labels) != self.outer * self.inner:
            raise ShapeError(
                "Number of labels must match number of predictions; e.g., if softmax axis == 1 and "
                "prediction shape is (N, C, H, W), label count (number of labels) must be N*H*W, "
                f"with integer values in {{0, 1, ..., C-1}}. (got {labels} for predictions {shape}, "
                f"expected {self.outer * self.inner} labels)",
                layer=layer,
            )

    def read(self, blob: Blob, ignore: int | None, layer: str) -> Array:
        """The labels as integers (outer, inner); raises NetError for one that is no class."""
        labels = read_indices(blob, self.classes, layer=layer, ignore=ignore)
        return labels.reshape(self.outer, self.inner)

    def rows(self, array: Array) -> Array:
        """Scores as (outer, classes, inner)."""
        return array.reshape(self.outer, self.classes, self.inner)

    def valid(self, labels: Array, ignore: int | None) -> Array:
        """True where the label counts."""
        return labels == labels if ignore is None else labels != ignore

    def index(self, xp: Any, labels: Array, valid: Array) -> tuple[Array, Array, Array]:
        """Index of each label's score in `rows`; ignored labels point to class 0."""
        outer = xp.arange(self.outer)[:, None]
        return outer, labels * valid, xp.arange(self.inner)[None, :]


class Normalization:
    """What a sum of losses is divided by: `loss_param` with its old and its new spelling."""

    def __init__(self, p: LossParameter, default: int = LossParameter.VALID) -> None:
        self.ignore_label: int | None = p.ignore_label if p.HasField("ignore_label") else None
        self.mode: int = default
        if p.HasField("normalization"):
            self.mode = p.normalization
        elif p.HasField("normalize"):
            self.mode = LossParameter.VALID if p.normalize else LossParameter.BATCH_SIZE

    def divisor(self, outer: int, inner: int, valid: int) -> float:
        """At least 1: a batch of nothing but ignored labels costs 0."""
        divisors: dict[int, int] = {
            LossParameter.FULL: outer * inner,
            LossParameter.VALID: valid,
            LossParameter.BATCH_SIZE: outer,
            LossParameter.NONE: 1,
        }
        return float(max(1, divisors[self.mode]))
