"""The twelve steps of neural style transfer, in order. Arrays in, arrays out; no files, no printing.

    1, 2    capture_style      style picture through the feature net + GRAM; keep the gram blobs
    3, 4    capture_content    content picture through it; keep the content blobs
    5       augment.for_solving
    6       restore            the style blobs back into their INPUT layers
    7       restore            the content blobs
    8       Painter.solve      the solver runs; every iteration is
    9, 10   loss between style INPUT and GRAM behind EVENT; back through EVENT, gated
    11, 12  the same for the content; what reaches PARAMETER `input1` moves the picture

docs/twelve-steps.md maps each step to its function and its test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nst.backend import Backend
from nst.core import TEST, RandomSource
from nst.errors import WeightsError
from nst.net import Net, StoredWeights
from nst.proto import NetParameter
from nst.style import augment
from nst.style.feature_net import IMAGE_LAYER, image_blob
from nst.style.objective import Objective
from nst.style.statistics import statistic_blob

Array = NDArray[Any]
Targets = dict[str, Array]
"""Saved blobs by name: `gram_conv1_1` of the style, `conv4_2` of the content."""


@dataclass(frozen=True)
class StylePicture:
    """A preprocessed style picture (1, C, H, W) of any size, and its share among several."""

    pixels: Array
    weight: float = 1.0
    tap_weights: Mapping[str, float] | None = None
    """Its own weights per statistic blob (`gram_conv1_1`); None: those of the objective."""


class FeatureNet:
    """Steps 1 to 4: the feature net with GRAM layers, ready to look at pictures."""

    def __init__(
        self,
        net: NetParameter,
        objective: Objective,
        weights: StoredWeights,
        backend: Backend,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.objective = objective
        self.param = augment.for_extraction(net, objective)
        self.net = Net(self.param, backend=backend, phase=TEST, dtype=dtype, rng=RandomSource(0))
        load_all(self.net, weights)

    def capture_style(self, styles: Sequence[StylePicture]) -> Targets:
        """Steps 1 and 2: the gram blobs of the style pictures, mixed by their weights.

        Gram matrices and the other statistics are moments: a mixture of pictures has the mixture of theirs.
        """
        names = [statistic_blob(tap) for tap in self.objective.style]
        targets: Targets = {}
        totals = dict.fromkeys(names, 0.0)
        for style in styles:
            self.look_at(style.pixels)
            for name in names:
                share = style.weight * (style.tap_weights or {}).get(
                    name, 0.0 if style.tap_weights else 1.0
                )
                moments = share * self._copy_of(name)
                targets[name] = targets[name] + moments if name in targets else moments
                totals[name] += share
        return {name: targets[name] / total for name, total in totals.items()}

    def capture_content(self, content: Array) -> Targets:
        """Steps 3 and 4: the content blobs of the content picture."""
        self.look_at(content)
        return {tap.blob: self._copy_of(tap.blob) for tap in self.objective.content}

    def look_at(self, pixels: Array) -> None:
        """Puts a picture (1, C, H, W) into the image blob and runs the net forward."""
        blob = self.net.blobs[image_blob(self.param)]
        blob.reshape(*pixels.shape)
        blob.data[...] = self.net.backend.asarray(pixels, blob.dtype)
        self.net.forward_from_to()

    def param_counts(self) -> dict[str, int]:
        """Number of learnable blobs per layer."""
        return {layer.name: len(layer.params) for layer in self.net.layers}

    def _copy_of(self, blob: str) -> Array:
        return np.array(self.net.blobs[blob].to_host())


def build_painting_net(
    features: FeatureNet, targets: Targets, start: Array, weights: StoredWeights
) -> Net:
    """Steps 5 to 7: the augmented net with its targets restored and the start picture in `input1`."""
    param = augment.for_solving(
        features.param,
        features.objective,
        {name: value.shape for name, value in targets.items()},
        start.shape,
        features.param_counts(),
    )
    dtype = features.net.context.dtype
    net = Net(
        param,
        backend=features.net.backend,
        phase=TEST,
        dtype=dtype,
        rng=RandomSource(0),
        recycle_gradients=True,  # only the picture's gradient is looked at
    )
    load_all(net, weights)
    restore(net, targets)
    image = image_of(net)
    image.data[...] = net.backend.asarray(start, image.dtype)
    return net


def restore(net: Net, targets: Targets) -> None:
    """Steps 6 and 7: saved blobs back into the INPUT layers `input_X`."""
    for name, value in targets.items():
        blob = net.blobs[f"input_{name}"]
        blob.data[...] = net.backend.asarray(value, blob.dtype)


def image_of(net: Net) -> Any:
    """The learnable blob of PARAMETER `input1`: the picture (1, C, H, W), preprocessed."""
    return net.params[IMAGE_LAYER][0]


def load_all(net: Net, weights: StoredWeights) -> None:
    """Fills every layer that has weights; a layer without is an error, never a random filter."""
    report = net.copy_weights(weights)
    missing = [name for name in report.missing if name != IMAGE_LAYER]
    if missing:
        raise WeightsError(
            f"no weights for {len(missing)} layer(s) of net '{net.name}': {', '.join(missing)}. "
            "A style run needs all of them; the weights file belongs to another net, or layers were "
            "renamed"
        )
