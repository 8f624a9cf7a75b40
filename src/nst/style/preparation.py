"""What one size of a run begins with: its start picture, its targets, and the net that paints."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.io.masks import resize_mask
from nst.io.resample import fit_longest_side, resize
from nst.net import Net
from nst.proto import InitialImage
from nst.style import augment
from nst.style.initial import initial_picture
from nst.style.job import StyleJob
from nst.style.job_pictures import StyleSource
from nst.style.regions import inputs_of, without_empty
from nst.style.schedule import Stage
from nst.style.statistics_store import StatisticsStore, style_targets
from nst.style.temporal import kept_sharp, temporal_targets
from nst.style.transfer import FeatureNet, StylePicture, Targets, build_painting_net

log = logging.getLogger("nst.style")

Picture = NDArray[np.float32]


def start_picture(job: StyleJob, shape: tuple[int, int], previous: Picture | None) -> Picture:
    """The picture (H, W, 3) that a size starts from: that of the size before, or as `init` says.

    A start with the colours of the style has in every region those of its own. In a video only what is new
    comes from the size before, the rest as sharp as the frame before left it.
    """
    if previous is not None:
        larger = resize(previous, shape, method="bicubic", limits=None)
        return kept_sharp(larger, job.temporal) if job.temporal else larger
    regions = job.regions.at(shape)
    start = _initial(job, shape, job.styles[0] if job.styles else None)
    if getattr(job.style_param.init, "from") == InitialImage.STYLE_STATISTICS and regions.styles:
        firsts = {style.region: style for style in reversed(job.styles)}
        total = np.maximum(sum(regions.styles.values()), 1)[:, :, np.newaxis]
        shares = {name: mask[:, :, np.newaxis] / total for name, mask in regions.styles.items()}
        start = start * (1 - sum(shares.values()))
        for region, share in shares.items():
            start += share * _initial(job, shape, firsts[region])
    content = None if job.content is None else resize(job.content.rgb, shape)
    return regions.join(np.asarray(start, np.float32), content)


def _initial(job: StyleJob, shape: tuple[int, int], style: StyleSource | None) -> Picture:
    return initial_picture(
        job.style_param.init,
        shape,
        content=job.content.rgb if job.content else None,
        style=style.picture.rgb if style else None,
        given=job.start.rgb if job.start else None,
        transform=job.transform,
        seed=job.seed,
    )


def prepared_net(
    job: StyleJob, stage: Stage, start: Picture, statistics: StatisticsStore | None
) -> Net:
    """Steps 1 to 7 at this size; what only the first four need is gone afterwards."""
    shape, encode = (start.shape[0], start.shape[1]), job.transform.encode
    features = FeatureNet(job.net, job.objective, job.weights, job.backend)
    targets: Targets = {}
    if job.objective.style:
        targets.update(capture_styles(job, features, stage, statistics))
    content = None if job.content is None else encode(resize(job.content.rgb, shape))
    if content is not None and job.objective.content:
        targets.update(features.capture_content(content))
    inputs = inputs_of(job.regions.at(shape), features, job.objective, content)
    objective, notes = without_empty(
        job.objective, inputs, targets, is_last=stage.size >= job.stages[-1].size
    )
    for note in notes:
        log.warning("%d px: %s", stage.size, note)
    targets = {name: targets[name] for name in augment.saved_blobs(objective)}
    targets.update(temporal_targets(job.temporal, job.transform, shape))
    return build_painting_net(features, targets, encode(start), job.weights, objective, inputs)


def capture_styles(
    job: StyleJob, features: FeatureNet, stage: Stage, statistics: StatisticsStore | None
) -> dict[str, Any]:
    """Steps 1 and 2 at this size; the statistics of region `sky` are called `gram_X@sky`."""
    targets: dict[str, Any] = {}
    for region in dict.fromkeys(style.region for style in job.styles):
        found = style_targets(features, _style_pictures(job, stage, region), job, statistics)
        suffix = f"@{region}" if region else ""
        targets.update({f"{name}{suffix}": value for name, value in found.items()})
    return targets


def _style_pictures(job: StyleJob, stage: Stage, region: str) -> list[StylePicture]:
    """The styles of a region; they keep their aspect and are never enlarged, unless stretched."""
    pictures = []
    for style in job.styles:
        if style.region != region:
            continue
        rgb, mask = style.picture.rgb, style.mask
        size = fit_longest_side(rgb.shape[:2], max(1, round(stage.size * style.scale)))
        size = job.shape_at(stage.size) if style.stretch else size
        pixels = job.transform.encode(resize(rgb, size))
        if mask is not None:
            mask = resize_mask(mask, size)
        pictures.append(StylePicture(pixels, style.weight, style.tap_weights or None, mask))
    return pictures
