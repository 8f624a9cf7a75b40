"""From the style block of a solver file to an Objective: taps by name, weights, forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from nst.errors import UsageError
from nst.proto import (
    FeatureWeight,
    GramParameter,
    NetParameter,
    StyleTerm,
    StyleTransferParameter,
)
from nst.style.feature_net import resolve_tap
from nst.style.objective import Objective, Tap
from nst.style.region_names import region_names
from nst.style.taps import default_content_tap, default_style_taps


def read_objective(param: StyleTransferParameter, net: NetParameter) -> Objective:
    """The objective that the settings describe; raises UsageError for taps that the net lacks.

    Regions are in it by name, all of them as if they took the whole picture: `regions.weighed` knows better.
    """
    objective = Objective(
        content=_content_taps(param, net) if param.content_weight else (),
        style=_style_taps(param, net) if param.style_weight else (),
        content_weight=param.content_weight,
        style_weight=param.style_weight,
        tv_weight=param.tv_weight,
        tv=param.tv_loss_param,
        gram_normalize=param.gram_normalize,
        gram_scale=param.gram_scale,
        content_scale=param.content_scale,
        gate=param.gate if param.HasField("gate") else None,
        exact_gradient=param.exact_gradient,
        content_loss=param.content_loss,
        style_loss=param.style_loss,
        mmd_offset=param.mmd_offset,
        pooling=param.pooling if param.HasField("pooling") else None,
        padding=param.padding if param.HasField("padding") else None,
        pad_every_layer=param.pad_every_layer,
        style_margin=param.style_margin,
        temporal_weight=param.video.temporal_weight,
        content_share=1.0 if param.content.mask else None,
        is_partly_kept=bool(param.keep_mask),
    )
    grams = [tap for tap in objective.style if tap.statistic == StyleTransferParameter.GRAM]
    if objective.regions and grams and objective.gram_normalize == GramParameter.NONE:
        raise UsageError(
            "gram_normalize: NONE sums over places, which differ in number from region to region (expected "
            "HW or CHW with masks)"
        )
    return objective


def read_taps(
    layers: Sequence[FeatureWeight], net: NetParameter, param: StyleTransferParameter
) -> list[Tap]:
    """Style taps by their blobs; without any, the usual ones of the net.

    A tap that names no statistic takes that of the run. One that has no name is the usual one at its place
    in the list, and left out where the net has fewer.
    """
    if not layers:
        return [Tap(blob, 1.0, param.style_statistic) for blob in default_style_taps(net)]
    return [
        Tap(
            blob,
            layer.weight,
            layer.statistic if layer.HasField("statistic") else param.style_statistic,
        )
        for layer, blob in _with_blobs(layers, net, default_style_taps)
    ]


def _content_taps(param: StyleTransferParameter, net: NetParameter) -> tuple[Tap, ...]:
    for layer in param.content.layer:
        if layer.HasField("statistic"):
            raise UsageError(
                f"content layer '{layer.name}': statistics are for style layers; content is compared "
                "place by place"
            )
    if not param.content.layer:
        return (Tap(default_content_tap(net)),)
    found = _with_blobs(param.content.layer, net, lambda net: [default_content_tap(net)])
    return tuple(Tap(blob, layer.weight) for layer, blob in found)


def _with_blobs(
    layers: Sequence[FeatureWeight],
    net: NetParameter,
    usual: Callable[[NetParameter], list[str]],
) -> Iterator[tuple[FeatureWeight, str]]:
    """Every layer with the blob that it means."""
    blobs = [] if all(layer.name for layer in layers) else usual(net)
    for place, layer in enumerate(layers):
        if layer.name:
            yield layer, resolve_tap(net, layer.name)
        elif place < len(blobs):
            yield layer, blobs[place]


def _style_taps(param: StyleTransferParameter, net: NetParameter) -> tuple[Tap, ...]:
    """Style taps of every region: weighed by the mean over its styles, each by its own share.

    With regions the mean weight of a region's styles says how strong it is; in the whole picture only
    their proportions count.
    """
    styles = list(param.style) or [StyleTerm()]
    regions = region_names(styles, keeps=bool(param.keep_mask))
    totals: dict[str, float] = {}
    for style, region in zip(styles, regions, strict=True):
        totals[region] = totals.get(region, 0.0) + (1.0 if region else style.weight)
    weights: dict[Tap, float] = {}
    for style, region in zip(styles, regions, strict=True):
        for tap in read_taps(style.layer, net, param):
            key = replace(tap, weight=1.0, region=region)
            share = style.weight * tap.weight / (totals[region] or 1.0)
            weights[key] = weights.get(key, 0.0) + share
    return tuple(replace(tap, weight=weight) for tap, weight in weights.items())
