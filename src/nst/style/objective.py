"""What a style run minimises: the taps, their weights, and the form of each term. Frozen and plain."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

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
    pooling: int | None = None
    """Replaces the net's pooling method; None leaves it."""

    def __post_init__(self) -> None:
        if not self.content and not self.style and not self.tv_weight:
            raise UsageError(
                "objective: no term (got no content, style or TV weight, expected one)"
            )
        weights = [self.content_weight, self.style_weight, self.tv_weight]
        weights += [tap.weight for tap in self.content + self.style]
        if any(weight < 0 or not math.isfinite(weight) for weight in weights):
            raise UsageError(f"objective: weights must be finite and >= 0 (got {weights})")

    @property
    def taps(self) -> tuple[str, ...]:
        """All blobs that are looked at."""
        return tuple(dict.fromkeys(tap.blob for tap in self.content + self.style))


def gate_for(objective: Objective, is_rectified: bool) -> int:
    """The gate of one EVENT layer: FEATURE_POSITIVE is exact only behind a ReLU."""
    if objective.gate is not None:
        return objective.gate
    return EventParameter.FEATURE_POSITIVE if is_rectified else EventParameter.NONE


def content_loss_weight(objective: Objective, tap: Tap, shape: Shape) -> float:
    """loss_weight of one content EUCLIDEAN_LOSS, whose own value is 1/2 sum d^2 (batch 1)."""
    form = objective.content_loss
    weight = objective.content_weight * tap.weight
    if form == StyleTransferParameter.HALF_SUM:
        return weight
    if form == StyleTransferParameter.MEAN:
        return 2 * weight / math.prod(shape)
    raise UsageError(
        f"content_loss: no such form for content (got {_form_name(form)}, expected HALF_SUM or MEAN)"
    )


def style_loss_weight(objective: Objective, tap: Tap, gram_shape: Shape) -> float:
    """loss_weight of one style EUCLIDEAN_LOSS over a Gram blob (1, C, C).

    GATYS is 1/(4 C^2) sum d^2, which with gram_normalize HW is 1/(4 N^2 M^2) sum (G - A)^2 of
    arXiv 1508.06576 eq. 4; CHANNELS_POW4 is MyCaffe's 1/(4 C^4) in front of the halved sum.
    """
    form = objective.style_loss
    weight = objective.style_weight * tap.weight
    channels = gram_shape[-1]
    factors: dict[int, float] = {
        StyleTransferParameter.HALF_SUM: 1.0,
        StyleTransferParameter.MEAN: 2.0 / math.prod(gram_shape),
        StyleTransferParameter.GATYS: 2.0 / (4.0 * channels**2),
        StyleTransferParameter.CHANNELS_POW4: 1.0 / (4.0 * channels**4),
    }
    return weight * factors[form]


def _form_name(form: int) -> str:
    return StyleTransferParameter.LossForm.Name(form)
