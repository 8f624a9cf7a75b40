"""The temporal term: a frame of a video is held to earlier ones, warped to it (layer TemporalLoss).

Per earlier frame, d frames back, the painting net gets INPUT `input_warped_d` and `input_weights_d` and the
loss `loss_temporal_d` on the picture. Its form is that of `content_loss`: the mean of Ruder et al. 2016,
eq. 7, half the sum, or a share of the warped frame's squares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nst.core import Shape
from nst.io.picture_transform import PictureTransform
from nst.io.resample import resize
from nst.proto import NetParameter, StyleTransferParameter
from nst.style.feature_net import copied, image_blob
from nst.style.objective import Objective

Array = NDArray[np.float32]

_WARPED, _WEIGHTS = "warped_", "weights_"


@dataclass(frozen=True)
class TemporalTarget:
    """An earlier frame as it would look now, and how far that can be believed."""

    distance: int
    """How many frames back it lies."""
    warped: Array
    """RGB (H, W, 3), 0 to 255."""
    weights: Array
    """(H, W), 0 is free, 1 is held."""


def temporal_targets(
    terms: Sequence[TemporalTarget], transform: PictureTransform, shape: tuple[int, int]
) -> dict[str, Array]:
    """The blobs of the terms at one size: `warped_d` (1, C, H, W) and `weights_d` (1, 1, H, W)."""
    targets: dict[str, Array] = {}
    for term in terms:
        warped = resize(term.warped, shape)
        weights = resize(term.weights, shape, method="area", limits=(0.0, 1.0))
        targets[f"{_WARPED}{term.distance}"] = transform.encode(warped)
        targets[f"{_WEIGHTS}{term.distance}"] = weights[np.newaxis, np.newaxis]
    return targets


def kept_sharp(picture: Array, terms: Sequence[TemporalTarget]) -> Array:
    """The picture (H, W, 3) with the warped frames in it, where they are held."""
    shape = (picture.shape[0], picture.shape[1])
    for term in terms:
        weights = resize(term.weights, shape, method="area", limits=(0.0, 1.0))[..., np.newaxis]
        picture = picture + weights * (resize(term.warped, shape) - picture)
    return picture


def add_temporal_losses(
    net: NetParameter, objective: Objective, targets: Mapping[str, Shape]
) -> NetParameter:
    """Appends TEMPORAL_LOSS `loss_temporal_d` for every pair `warped_d`, `weights_d` among the targets."""
    net = copied(net)
    for name, shape in targets.items():
        distance = name.removeprefix(_WARPED)
        weights = f"{_WEIGHTS}{distance}"
        if weights not in targets or not objective.temporal_weight:
            continue
        layer = net.layer.add(name=f"loss_temporal_{distance}", type="TemporalLoss")
        layer.bottom.extend([image_blob(net), f"input_{name}", f"input_{weights}"])
        layer.top.append(layer.name)
        layer.loss_weight.append(_loss_weight(objective, shape))
        if objective.content_loss == StyleTransferParameter.RELATIVE:
            layer.temporal_loss_param.relative = True
    return net


def _loss_weight(objective: Objective, shape: Shape) -> float:
    if objective.content_loss == StyleTransferParameter.HALF_SUM:
        return objective.temporal_weight * math.prod(shape) / 2
    return objective.temporal_weight
