"""What a style run minimises: the taps, their weights, and the form of each term. Frozen and plain."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from nst.core import Shape
from nst.errors import UsageError
from nst.proto import (
    EventParameter,
    GramParameter,
    StyleTransferParameter,
    TVLossParameter,
)


@dataclass(frozen=True)
class Tap:
    """A blob of the feature net whose value counts, and its share of the term."""

    blob: str
    weight: float = 1.0
    statistic: int = StyleTransferParameter.GRAM
    """Of a style tap: what is compared (`style.statistics`)."""
    region: str = ""
    """Of a style tap: the part of the picture that is compared; empty: all of it."""


@dataclass(frozen=True)
class Objective:
    """All terms of the loss

        content_weight * sum_l w_l C_l  +  style_weight * sum_l w_l S_l  +  tv_weight * TV

    as `nst presets` and docs/prototxt.md explain them. Enum fields hold the numbers of nst.proto.
    """

    content: tuple[Tap, ...]
    style: tuple[Tap, ...]
    content_weight: float = 1.0
    style_weight: float = 1.0
    tv_weight: float = 0.0
    tv: TVLossParameter = field(default_factory=TVLossParameter)
    gram_normalize: int = GramParameter.NONE
    gram_scale: float = 1.0
    content_scale: float = 1.0
    gate: int | None = None
    """Gate of the EVENT layers; None takes FEATURE_POSITIVE behind a ReLU and NONE elsewhere."""
    exact_gradient: bool = True
    content_loss: int = StyleTransferParameter.HALF_SUM
    style_loss: int = StyleTransferParameter.HALF_SUM
    mmd_offset: float = 1.0
    """Constant c of the kernel (x.y + c)^2 behind MMD_POLYNOMIAL."""
    pooling: int | None = None
    """Replaces the net's pooling method; None leaves it."""
    padding: int | None = None
    """What convolutions see beyond the edge (PadParameter.Mode); None leaves zeros."""
    pad_every_layer: bool = False
    """Whether `padding` is for all convolutions, not only for those of the picture."""
    style_margin: int = 0
    """Places along the edges of every style tap that its statistics leave out."""
    temporal_weight: float = 0.0
    """Of each term that holds a frame of a video to an earlier one (`style.temporal`)."""
    content_share: float | None = None
    """Mean of the mask that weighs the places of the content terms; None: there is no mask."""
    is_partly_kept: bool = False
    """Whether some pixels stay as the content has them."""

    def __post_init__(self) -> None:
        if not self.content and not self.style and not self.tv_weight:
            raise UsageError(
                "objective: no term (got no content, style or TV weight, expected one)"
            )
        weights = [self.content_weight, self.style_weight, self.tv_weight, self.temporal_weight]
        weights += [tap.weight for tap in self.content + self.style]
        if any(weight < 0 or not math.isfinite(weight) for weight in weights):
            raise UsageError(f"objective: weights must be finite and >= 0 (got {weights})")
        if self.mmd_offset < 0 or not math.isfinite(self.mmd_offset):
            raise UsageError(f"mmd_offset: must be finite and >= 0 (got {self.mmd_offset})")

    @property
    def taps(self) -> tuple[str, ...]:
        """All blobs that are looked at."""
        return tuple(dict.fromkeys(tap.blob for tap in self.content + self.style))

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that styles are compared in; empty if it is the whole picture."""
        return tuple(dict.fromkeys(tap.region for tap in self.style if tap.region))

    @property
    def whole_taps(self) -> tuple[Tap, ...]:
        """The style taps by blob and statistic, without regions: what is taken of a style picture."""
        return tuple(dict.fromkeys(replace(tap, region="", weight=1.0) for tap in self.style))


def gate_for(objective: Objective, is_rectified: bool) -> int:
    """The gate of one EVENT layer: FEATURE_POSITIVE is exact only behind a ReLU."""
    if objective.gate is not None:
        return objective.gate
    return EventParameter.FEATURE_POSITIVE if is_rectified else EventParameter.NONE


def content_loss_weight(objective: Objective, tap: Tap, shape: Shape) -> float:
    """loss_weight of one content loss: RELATIVE_LOSS, or EUCLIDEAN_LOSS, whose own value is 1/2 sum d^2."""
    form = objective.content_loss
    weight = objective.content_weight * tap.weight
    if form == StyleTransferParameter.HALF_SUM:
        return weight
    if form == StyleTransferParameter.MEAN:
        return 2 * weight / math.prod(shape)
    if form == StyleTransferParameter.RELATIVE:  # of the part that counts: weighed by its share
        return weight * (1.0 if objective.content_share is None else objective.content_share)
    raise UsageError(
        f"content_loss: no such form for content (got {_form_name(form)}, expected HALF_SUM, MEAN or "
        "RELATIVE)"
    )


def _form_name(form: int) -> str:
    return StyleTransferParameter.LossForm.Name(form)
