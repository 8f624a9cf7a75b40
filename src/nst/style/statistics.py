"""Style statistics: what of a tap's features is compared with the style's, by which layers.

                     statistic layer      distance                           RELATIVE
    GRAM             GRAM                 EUCLIDEAN_LOSS                     RELATIVE_LOSS
    W2               MOMENTS FULL         WASSERSTEIN_LOSS                   the same, relative
    MOMENTS          MOMENTS DIAGONAL     MOMENTS_LOSS                       the same, relative
    MMD_LINEAR       MOMENTS NONE         EUCLIDEAN_LOSS                     RELATIVE_LOSS
    MMD_POLYNOMIAL   MOMENTS FULL         EUCLIDEAN_LOSS                     RELATIVE_LOSS
    MMD_GAUSSIAN     SPLIT                MMD_LOSS GAUSSIAN                  the same: its kernel has no unit
    HISTOGRAM        SPLIT                HISTOGRAM_LOSS                     the same, relative
    MRF              SPLIT                MRF_LOSS                           the same, relative

All but the last three are means over places (GRAM: with gram_normalize HW), so they do not change with the
size of a picture and mix linearly. The last three compare with the features themselves, so of one style, and
of the whole of it. The statistic layer of tap X is called gram_X, w2_X, moments_X, ... after the statistic,
and gram_X@sky where it is that of the region `sky`, for which it reads the mask blob mask_X@sky.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from nst.core import Shape
from nst.errors import UsageError
from nst.proto import (
    LayerParameter,
    MMDLossParameter,
    MomentsParameter,
    MRFLossParameter,
    NetParameter,
    StyleTransferParameter,
)
from nst.style.objective import Objective, Tap

_SECOND = {
    StyleTransferParameter.W2: MomentsParameter.FULL,
    StyleTransferParameter.MOMENTS: MomentsParameter.DIAGONAL,
    StyleTransferParameter.MMD_LINEAR: MomentsParameter.NONE,
    StyleTransferParameter.MMD_POLYNOMIAL: MomentsParameter.FULL,
}


_OF_FEATURES = frozenset(
    (
        StyleTransferParameter.MMD_GAUSSIAN,
        StyleTransferParameter.HISTOGRAM,
        StyleTransferParameter.MRF,
    )
)


def compares_features(tap: Tap) -> bool:
    """Whether a style tap is compared with the features of the style, which do not mix, of any size."""
    return tap.statistic in _OF_FEATURES


class Maskable(Protocol):
    """What `check_features` asks of a style picture."""

    @property
    def mask(self) -> object | None: ...


def check_features(taps: Sequence[Tap], styles: Sequence[Maskable]) -> None:
    """Raises UsageError if a tap that needs the features of one whole style picture cannot have them."""
    tap = next(filter(compares_features, taps), None)
    if tap is None:
        return
    is_masked = bool(tap.region) or any(style.mask is not None for style in styles)
    if len(styles) > 1 or is_masked:
        name = StyleTransferParameter.StyleStatistic.Name(tap.statistic)
        got = "masks" if is_masked else f"{len(styles)} of them"
        raise UsageError(
            f"style layer '{tap.blob}': {name} compares with the features of one whole style picture "
            f"(got {got}). GRAM, W2, MOMENTS and the other MMD can be mixed and masked"
        )


def statistic_blob(tap: Tap) -> str:
    """Name of the layer and blob that hold a style tap's statistic: `gram_conv1_1`, `w2_conv1_1@sky`, ..."""
    statistic = StyleTransferParameter.StyleStatistic.Name(tap.statistic).lower()
    return f"{statistic}_{tap.blob}" + (f"@{tap.region}" if tap.region else "")


def mask_blob(tap: Tap) -> str:
    """Name of the layer and blob that hold the mask of a tap's region: `mask_conv1_1@sky`."""
    return f"mask_{tap.blob}@{tap.region}"


def source_blob(blob: str, objective: Objective) -> str:
    """The blob whose places the statistics of style tap `blob` are taken of: without its edges `trim_X`."""
    return f"trim_{blob}" if objective.style_margin else blob


def add_statistic(net: NetParameter, tap: Tap, objective: Objective) -> None:
    """Appends the statistic layer of a tap to `net`; that of a region reads the blob of its mask too."""
    name = statistic_blob(tap)
    layer = net.layer.add(name=name, bottom=[source_blob(tap.blob, objective)], top=[name])
    if tap.region:
        layer.bottom.append(mask_blob(tap))
    if tap.statistic == StyleTransferParameter.GRAM:
        layer.type = "Gram"
        layer.gram_param.alpha = objective.gram_scale
        layer.gram_param.normalize = objective.gram_normalize  # type: ignore[assignment]
        layer.gram_param.disable_scaling_on_gradient = not objective.exact_gradient
        return
    if compares_features(tap):
        layer.type = "Split"
        return
    layer.type = "Moments"
    layer.moments_param.second = _SECOND[tap.statistic]  # type: ignore[index]
    if tap.statistic == StyleTransferParameter.MMD_POLYNOMIAL:
        layer.moments_param.mean_scale = math.sqrt(2 * objective.mmd_offset)


def style_loss(tap: Tap, objective: Objective, shape: Shape) -> LayerParameter:
    """The loss layer of a style tap, its weight set; bottoms, top and name are left to the caller.

    `shape` is that of the statistic (1, C, ...). The weight makes of the squared distance d^2 the form
    that `style_loss` asks for.
    """
    layer = LayerParameter()
    relative = objective.style_loss == StyleTransferParameter.RELATIVE
    share = style_loss_share(objective, tap, shape)
    if tap.statistic == StyleTransferParameter.W2:
        layer.type = "WassersteinLoss"
        layer.wasserstein_loss_param.relative = relative
    elif tap.statistic == StyleTransferParameter.MOMENTS:
        layer.type = "MomentsLoss"
        layer.moments_loss_param.relative = relative
    elif tap.statistic == StyleTransferParameter.MMD_GAUSSIAN:
        layer.type = "MMDLoss"
        layer.mmd_loss_param.kernel = MMDLossParameter.GAUSSIAN
    elif tap.statistic == StyleTransferParameter.HISTOGRAM:
        layer.type = "HistogramLoss"
        layer.histogram_loss_param.relative = relative
    elif tap.statistic == StyleTransferParameter.MRF:
        layer.type = "MRFLoss"
        layer.mrf_loss_param.relative = relative
    elif relative:
        layer.type = "RelativeLoss"
    else:
        layer.type = "EuclideanLoss"
        share *= 2  # its own value is d^2 / 2
    layer.loss_weight.append(share)
    return layer


def style_loss_share(objective: Objective, tap: Tap, shape: Shape) -> float:
    """What d^2 of a style tap is multiplied by.

    GATYS is 1/(4 C^2), which with gram_normalize HW is 1/(4 N^2 M^2) sum (G - A)^2 of arXiv 1508.06576
    eq. 4; CHANNELS_POW4 is MyCaffe's 1/(4 C^4) in front of the halved sum.
    """
    channels = shape[1]
    factors: dict[int, float] = {
        StyleTransferParameter.HALF_SUM: 0.5,
        StyleTransferParameter.MEAN: 1.0 / _entries(tap, shape),
        StyleTransferParameter.GATYS: 1.0 / (4.0 * channels**2),
        StyleTransferParameter.CHANNELS_POW4: 1.0 / (8.0 * channels**4),
        StyleTransferParameter.RELATIVE: 1.0,
    }
    return objective.style_weight * tap.weight * factors[objective.style_loss]


def _entries(tap: Tap, shape: Shape) -> int:
    """Of how many values d^2 of a style tap is the sum."""
    kind = StyleTransferParameter
    if tap.statistic in (kind.W2, kind.MOMENTS, kind.HISTOGRAM):
        return shape[1]
    if tap.statistic == kind.MRF:
        return shape[1] * MRFLossParameter().patch ** 2
    return 1 if tap.statistic == kind.MMD_GAUSSIAN else math.prod(shape)
