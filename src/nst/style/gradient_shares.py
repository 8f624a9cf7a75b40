"""How much each term of the loss pulls at the picture: its share of the summed gradient norms.

Shares that stay the same from size to size are what makes a small picture a preview of a large one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from nst.net import Net
from nst.style.transfer import image_of

log = logging.getLogger(__name__)

Shares = Mapping[str, float]
"""Loss blob without its `loss_` -> share of the gradient, from 0 to 1; they sum to 1."""


def gradient_shares(net: Net) -> dict[str, float]:
    """Measures the terms of a painting net where the picture is now: one backward pass for each.

    The picture's diff is that of the whole loss again afterwards.
    """
    net.forward_from_to()
    losses = {name: net.blobs[name] for name in net.loss_terms()}
    weights = {name: float(blob.diff_to_host()) for name, blob in losses.items()}
    norms = {}
    for name in losses:
        _weigh(losses, {**dict.fromkeys(losses, 0.0), name: weights[name]})
        norms[name.removeprefix("loss_")] = _gradient_norm(net)
    _weigh(losses, weights)
    _gradient_norm(net)
    total = sum(norms.values()) or 1.0
    return {name: norm / total for name, norm in norms.items()}


def report_shares(shares: Shares, size: tuple[int, int]) -> None:
    """Logs the shares at one size, largest first."""
    parts = sorted(shares.items(), key=lambda item: -item[1])
    text = ", ".join(f"{name} {share:.1%}" for name, share in parts)
    log.info("gradient shares at %d x %d: %s", size[1], size[0], text)


def _weigh(losses: Mapping[str, Any], weights: Mapping[str, float]) -> None:
    for name, blob in losses.items():
        blob.diff[...] = weights[name]


def _gradient_norm(net: Net) -> float:
    net.clear_param_diffs()
    net.backward_from_to()
    gradient = image_of(net).diff
    return math.sqrt(net.backend.dot(gradient, gradient))
