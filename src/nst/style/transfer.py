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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nst.backend import Backend
from nst.core import TEST, RandomSource
from nst.errors import UsageError, WeightsError
from nst.net import Net, StoredWeights
from nst.proto import NetParameter
from nst.style import augment
from nst.style.augment_regions import OF_THE_STYLE, for_style_mask, input_shapes
from nst.style.feature_net import IMAGE_LAYER, image_blob
from nst.style.mask_propagation import masks_at
from nst.style.objective import Objective, Tap
from nst.style.statistics import mask_blob, source_blob, statistic_blob

Array = NDArray[Any]
Targets = dict[str, Array]
"""Saved blobs by name: `gram_conv1_1` of the style, `conv4_2` of the content."""

SMALLEST_REGION = 1.0
"""Sum of a mask at a tap below which there is nothing to take statistics of: one place."""


@dataclass(frozen=True)
class StylePicture:
    """A preprocessed style picture (1, C, H, W) of any size, and its share among several."""

    pixels: Array
    weight: float = 1.0
    tap_weights: Mapping[str, float] | None = None
    """Its own weights per statistic blob (`gram_conv1_1`); None: those of the objective."""
    mask: Array | None = None
    """How much each pixel counts, (H, W), 0 to 1; None: all alike."""


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
        self._backend, self._dtype, self._weights = backend, dtype, weights
        self.net = self._built(self.param)

    def capture_style(self, styles: Sequence[StylePicture]) -> Targets:
        """Steps 1 and 2: the gram blobs of the style pictures, mixed by their weights.

        Gram matrices and the other statistics are moments: a mixture of pictures has the mixture of theirs.
        Taps at which no style has a share, or a place under its mask, are left out.
        """
        targets: Targets = {}
        totals: dict[str, float] = {}
        for style in styles:
            for tap, moments in self._look_at_style(style).items():
                name = statistic_blob(tap)
                own = (style.tap_weights or {}).get(name, 0.0 if style.tap_weights else 1.0)
                share = style.weight * own
                if share:
                    moments = share * moments
                    targets[name] = targets[name] + moments if name in targets else moments
                    totals[name] = totals.get(name, 0.0) + share
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

    def masks_at_taps(self, masks: Array, taps: Iterable[str]) -> dict[str, Array]:
        """Masks (R, H, W) of a picture at the taps: (R, h, w); the net takes the picture's size."""
        blob = self.net.blobs[image_blob(self.param)]
        blob.reshape(1, blob.shape[1], *masks.shape[1:])
        self.net.reshape()
        return masks_at(self.net, image_blob(self.param), masks, taps)

    def param_counts(self) -> dict[str, int]:
        """Number of learnable blobs per layer."""
        return {layer.name: len(layer.params) for layer in self.net.layers}

    def _look_at_style(self, style: StylePicture) -> dict[Tap, Array]:
        """Runs a style picture forward; returns its statistics, but of taps where its mask has no place."""
        taps = self.objective.whole_taps
        if style.mask is None:
            self.look_at(style.pixels)
            return {tap: self._copy_of(statistic_blob(tap)) for tap in taps}
        sources = {tap: source_blob(tap.blob, self.objective) for tap in taps}
        masks = self.masks_at_taps(style.mask[np.newaxis], sources.values())
        shapes = {name: blob.shape for name, blob in self.net.blobs.items()}
        net = self._built(for_style_mask(self.param, self.objective, style.pixels.shape, shapes))
        own = {tap: replace(tap, region=OF_THE_STYLE) for tap in taps}
        for tap, guided in own.items():
            _put(net, mask_blob(guided), masks[sources[tap]][np.newaxis])
        _put(net, image_blob(self.param), style.pixels)
        net.forward_from_to()
        found = {
            tap: np.array(net.blobs[statistic_blob(guided)].to_host())
            for tap, guided in own.items()
            if masks[sources[tap]].sum() >= SMALLEST_REGION
        }
        if not found:
            raise UsageError(
                "style_mask: smaller than one place of every style layer (in "
                f"{style.pixels.shape[3]}x{style.pixels.shape[2]} pixels). A larger size or style scale, "
                "or shallower layers, give it room"
            )
        return found

    def _built(self, param: NetParameter) -> Net:
        net = Net(
            param,
            backend=self._backend,
            phase=TEST,
            dtype=self._dtype,
            rng=RandomSource(0),
            recycle_gradients=True,  # there are none
            keep_values={tap.blob for tap in self.objective.content},
        )
        return _loaded(net, self._weights)

    def _copy_of(self, blob: str) -> Array:
        return np.array(self.net.blobs[blob].to_host())


def build_painting_net(
    features: FeatureNet,
    targets: Targets,
    start: Array,
    weights: StoredWeights,
    objective: Objective | None = None,
    inputs: Targets | None = None,
) -> Net:
    """Steps 5 to 7: the augmented net with its targets restored and the start picture in `input1`.

    Args:
        objective: what is minimised at this size; None: that of `features`.
        inputs: masks at the taps, and what is kept of the content, by name (`style.regions`).
    """
    objective = objective or features.objective
    shapes = {name: blob.shape for name, blob in features.net.blobs.items()}
    names = input_shapes(objective, shapes, start.shape)
    inputs = {name: (inputs or {})[name] for name in names}
    param = augment.for_solving(
        features.param,
        objective,
        {name: value.shape for name, value in targets.items()},
        start.shape,
        features.param_counts(),
        {name: value.shape for name, value in inputs.items()},
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
    _loaded(net, weights)
    restore(net, targets)
    for name, value in inputs.items():
        _put(net, name, value)
    image = image_of(net)
    image.data[...] = net.backend.asarray(start, image.dtype)
    return net


def restore(net: Net, targets: Targets) -> None:
    """Steps 6 and 7: saved blobs back into the INPUT layers `input_X`."""
    for name, value in targets.items():
        _put(net, f"input_{name}", value)


def image_of(net: Net) -> Any:
    """The learnable blob of PARAMETER `input1`: the picture (1, C, H, W), preprocessed."""
    return net.params[IMAGE_LAYER][0]


def _put(net: Net, name: str, value: Array) -> None:
    blob = net.blobs[name]
    blob.data[...] = net.backend.asarray(value, blob.dtype)


def _loaded(net: Net, weights: StoredWeights) -> Net:
    """The net with every layer filled that has weights; one without is an error, never a random filter."""
    report = net.copy_weights(weights)
    missing = [name for name in report.missing if name != IMAGE_LAYER]
    if missing:
        raise WeightsError(
            f"no weights for {len(missing)} layer(s) of net '{net.name}': {', '.join(missing)}. "
            "A style run needs all of them; the weights file belongs to another net, or layers were "
            "renamed"
        )
    return net
