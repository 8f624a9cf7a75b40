"""Style statistics: what of a tap's features is compared with the style's, by which layers.

                     statistic layer      distance                           RELATIVE
    GRAM             GRAM                 EUCLIDEAN_LOSS                     RELATIVE_LOSS
    W2               MOMENTS FULL         WASSERSTEIN_LOSS                   the same, relative
    MOMENTS          MOMENTS DIAGONAL     MOMENTS_LOSS                       the same, relative
    MMD_LINEAR       MOMENTS NONE         EUCLIDEAN_LOSS                     RELATIVE_LOSS
    MMD_POLYNOMIAL   MOMENTS FULL         EUCLIDEAN_LOSS                     RELATIVE_LOSS

All are means over places (GRAM: with gram_normalize HW), so they do not change with the size of a picture
and mix linearly. The statistic layer of tap X is called gram_X, w2_X, moments_X, ... after the statistic,
and gram_X@sky where it is that of the region `sky`, for which it reads the mask blob mask_X@sky.
"""

from __future__ import annotations

import math

from nst.core import Shape
from nst.proto import (
    LayerParameter,
    MomentsParameter,
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


def statistic_blob(tap: Tap) -> str:
    """Name of the layer and blob that hold a style tap's statistic: `gram_conv1_1`, `w2_conv1_1@sky`, ..."""
    statistic = StyleTransferParameter.StyleStatistic.Name(tap.statistic).lower()
    return f"{statistic}_{tap.blob}" + (f"@{tap.region}" if tap.region else "")


def mask_blob(tap: Tap) -> str:
    """Name of the layer and blob that hold the mask of a tap's region: `mask_conv1_1@sky`."""
    return f"mask_{tap.blob}@{tap.region}"


def add_statistic(net: NetParameter, tap: Tap, objective: Objective) -> None:
    """Appends the statistic layer of a tap to `net`; that of a region reads the blob of its mask too."""
    name = statistic_blob(tap)
    layer = net.layer.add(name=name, bottom=[tap.blob], top=[name])
    if tap.region:
        layer.bottom.append(mask_blob(tap))
    if tap.statistic == StyleTransferParameter.GRAM:
        layer.type = "Gram"
        layer.gram_param.alpha = objective.gram_scale
        layer.gram_param.normalize = objective.gram_normalize  # type: ignore[assignment]
        layer.gram_param.disable_scaling_on_gradient = not objective.exact_gradient
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
    is_distance = tap.statistic in (StyleTransferParameter.W2, StyleTransferParameter.MOMENTS)
    entries = channels if is_distance else math.prod(shape)
    factors: dict[int, float] = {
        StyleTransferParameter.HALF_SUM: 0.5,
        StyleTransferParameter.MEAN: 1.0 / entries,
        StyleTransferParameter.GATYS: 1.0 / (4.0 * channels**2),
        StyleTransferParameter.CHANNELS_POW4: 1.0 / (8.0 * channels**4),
        StyleTransferParameter.RELATIVE: 1.0,
    }
    return objective.style_weight * tap.weight * factors[objective.style_loss]
