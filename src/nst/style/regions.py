"""Regions of the result: where each style is, where the content counts, and what stays as it is.

    sky      the mask of a style that has one; styles of one mask or region are mixed in it
    rest     what no mask covers: where styles without a mask are
    kept     what no style covers, and what `keep_mask` shows: those pixels are the content's

The net sees painted * (1 - kept) + content * kept, so at a soft border the painting is made to fit what stays
beside it. A region's style loss counts by its share of the picture: with statistics that are means, every
pixel is then pulled as strongly as in a run without masks, whatever the areas are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.errors import UsageError
from nst.io.masks import STEP, resize_mask
from nst.style.augment_regions import KEPT_PART, PAINTED_MASK, content_mask_blob
from nst.style.objective import Objective, Tap
from nst.style.region_names import REST
from nst.style.statistics import mask_blob, source_blob, statistic_blob
from nst.style.transfer import SMALLEST_REGION, FeatureNet

Array = NDArray[Any]


@dataclass(frozen=True)
class Regions:
    """Masks (H, W), 0 to 1, of one size: of every region that styles are compared in; where the content
    counts; what is kept. All empty in a run without masks."""

    styles: Mapping[str, Array] = field(default_factory=dict)
    content: Array | None = None
    kept: Array | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Share of the picture that each region takes."""
        return {name: float(mask.mean()) for name, mask in self.styles.items()}

    def at(self, shape: tuple[int, int]) -> Regions:
        """The same for a picture of another size."""
        return Regions(
            {name: resize_mask(mask, shape) for name, mask in self.styles.items()},
            None if self.content is None else resize_mask(self.content, shape),
            None if self.kept is None else resize_mask(self.kept, shape),
        )

    def join(self, painted: Array, content: Array | None) -> Array:
        """A painted picture (H, W, 3) with what is kept of the content, of the same size, in its place."""
        if self.kept is None or content is None:
            return painted
        kept = self.kept[:, :, np.newaxis]
        return np.asarray(painted * (1 - kept) + content * kept, np.float32)


def complete(
    masks: Mapping[str, Array],
    *,
    content: Array | None,
    keep: Array | None,
    has_rest: bool,
    has_content: bool,
) -> Regions:
    """The regions of a run, from the masks of its styles, all of one size.

    Adds `rest`, and what is kept. Raises UsageError for regions without a pixel, and for pixels that
    nothing is said about.
    """
    if keep is not None and keep.min() > 1 - STEP:
        raise UsageError("keep_mask: all of the picture is kept, there is nothing to paint")
    styles = dict(masks)
    covered = np.clip(sum(styles.values()), 0, 1) if styles else None
    if has_rest and (styles or keep is not None):
        styles[REST] = np.ones_like(keep) if covered is None else 1 - covered
    kept = keep
    if styles and not has_rest and covered is not None and (covered < 1 - STEP).any():
        if not has_content:
            raise UsageError(
                f"mask: {float((1 - covered).mean()):.0%} of the picture have no style, and there is no "
                "content to keep there. A style without a mask takes the rest"
            )
        kept = 1 - covered if kept is None else np.maximum(kept, 1 - covered)
    if keep is not None:
        styles = {name: mask * (1 - keep) for name, mask in styles.items()}
    for name, mask in styles.items():
        if mask.max() < STEP:
            why = "the masks cover all of the picture" if name == REST else "its mask is black"
            raise UsageError(f"style: nothing is left for region '{name}' ({why})")
    return Regions(styles, content, kept)


def weighed(objective: Objective, regions: Regions) -> Objective:
    """The objective with each region's terms weighed by its share of the picture."""
    shares = {"": 1.0, **regions.shares}
    return replace(
        objective,
        style=tuple(
            replace(tap, weight=tap.weight * shares[tap.region]) for tap in objective.style
        ),
        content_share=None if regions.content is None else float(regions.content.mean()),
        is_partly_kept=regions.kept is not None,
    )


# ---- at one size --------------------------------------------------------------------------------


def inputs_of(
    regions: Regions, features: FeatureNet, objective: Objective, content: Array | None
) -> dict[str, Array]:
    """The values of the INPUT layers that the regions add at one size (`augment`).

    regions: of that size. content: the content picture as the net sees it (1, C, H, W).
    """
    inputs: dict[str, Array] = {}
    names = list(regions.styles)
    if names:
        stack = np.stack([regions.styles[name] for name in names])
        sources = {tap: source_blob(tap.blob, objective) for tap in objective.style}
        at_taps = features.masks_at_taps(stack, set(sources.values()))
        for tap, source in sources.items():
            inputs[mask_blob(tap)] = _as_blob(at_taps[source][names.index(tap.region)])
    if regions.content is not None:
        stack = regions.content[np.newaxis]
        at_taps = features.masks_at_taps(stack, {tap.blob for tap in objective.content})
        for tap in objective.content:
            inputs[content_mask_blob(tap)] = _as_blob(np.sqrt(at_taps[tap.blob][0]))
    if regions.kept is not None and content is not None:
        inputs[PAINTED_MASK] = _as_blob(1 - regions.kept)
        inputs[KEPT_PART] = content * regions.kept
    return inputs


def without_empty(
    objective: Objective,
    inputs: Mapping[str, Array],
    targets: Mapping[str, Any],
    *,
    is_last: bool,
) -> tuple[Objective, list[str]]:
    """The objective without the style taps that have no target or less than one place of their region.

    Returns it with a sentence for each region that is left out of a tap. Raises UsageError for one that
    has no tap left at the last size, which is the largest.
    """
    kept: list[Tap] = []
    told: dict[str, list[str]] = {}
    for tap in objective.style:
        if tap.region and inputs[mask_blob(tap)].sum() < SMALLEST_REGION:
            told.setdefault(tap.region, []).append(tap.blob)
        elif statistic_blob(tap) in targets:
            kept.append(tap)
    for region in told if is_last else ():
        if not any(tap.region == region for tap in kept):
            raise UsageError(
                f"region '{region}': smaller than one place of every style layer at this size "
                f"({', '.join(told[region])}). A larger size or shallower layers give it room"
            )
    notes = [
        f"region '{region}' is smaller than one place of {', '.join(blobs)}: left out there"
        for region, blobs in told.items()
    ]
    return replace(objective, style=tuple(kept)), notes


def _as_blob(mask: Array) -> Array:
    return np.asarray(mask, np.float32)[np.newaxis, np.newaxis]
