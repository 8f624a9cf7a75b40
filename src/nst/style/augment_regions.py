"""Step 5 with masks, as pure passes NetParameter -> NetParameter: statistics of regions, pixels that stay.

    gram_X@sky       the statistic of tap X in region sky, from X and the mask blob mask_X@sky
    mask_X@content   roots of the weights of the places of content tap X
    mask@painted     where the picture is painted; `kept_part` is the rest of the content

Masks are INPUTs: they are computed once for each size (`mask_propagation`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nst.core import Shape
from nst.proto import LayerParameter, NetParameter
from nst.style.feature_net import copied, image_blob
from nst.style.objective import Objective, Tap
from nst.style.statistics import add_statistic, mask_blob, source_blob, statistic_blob

OF_THE_STYLE = "style"
"""Region of a style picture that its own mask shows."""
PAINTED_MASK, KEPT_PART = "mask@painted", "kept_part"
"""Inputs of a picture that is partly kept: where it is painted, and the rest of the content."""


def input_shapes(
    objective: Objective, features: Mapping[str, Shape], image_shape: Shape
) -> dict[str, Shape]:
    """Name and shape of every INPUT that masks need, from the shapes of the tapped blobs."""
    shapes: dict[str, Shape] = {}
    for tap in objective.style:
        if tap.region:
            shapes[mask_blob(tap)] = (1, 1, *features[source_blob(tap.blob, objective)][2:])
    for tap in objective.content if objective.content_share is not None else ():
        shapes[content_mask_blob(tap)] = (1, 1, *features[tap.blob][2:])
    if objective.is_partly_kept:
        shapes[PAINTED_MASK] = (1, 1, *image_shape[2:])
        shapes[KEPT_PART] = image_shape
    return shapes


def for_style_mask(
    extraction: NetParameter,
    objective: Objective,
    image_shape: Shape,
    features: Mapping[str, Shape],
) -> NetParameter:
    """The extraction net whose statistics are those of the region OF_THE_STYLE of a style picture."""
    taps = tuple(replace(tap, region=OF_THE_STYLE) for tap in objective.whole_taps)
    objective = replace(objective, style=taps, content_share=None, is_partly_kept=False)
    net = copied(extraction)
    del net.layer[0].input_param.shape[:]
    net.layer[0].input_param.shape.add().dim.extend(image_shape)
    net = add_inputs(net, input_shapes(objective, features, image_shape))
    return take_regions(net, objective)


def add_statistics(net: NetParameter, taps: Sequence[Tap], objective: Objective) -> NetParameter:
    """Appends GRAM `gram_X`, or what its statistic needs, to every style tap X."""
    net = copied(net)
    for tap in taps:
        add_statistic(net, tap, objective)
    return net


def add_inputs(net: NetParameter, shapes: Mapping[str, Shape]) -> NetParameter:
    """Puts an INPUT per name in front, behind the picture's own."""
    result = copied(net)
    del result.layer[1:]
    for name, shape in shapes.items():
        layer = result.layer.add(name=name, type="Input", top=[name])
        layer.input_param.shape.add().dim.extend(shape)
    result.layer.extend(net.layer[1:])
    return result


def take_regions(net: NetParameter, objective: Objective) -> NetParameter:
    """Puts the statistics of the regions, if there are any, in the place of those of the whole picture."""
    if not objective.regions:
        return net
    whole = {statistic_blob(tap) for tap in objective.whole_taps}
    result = copied(net)
    del result.layer[:]
    result.layer.extend(layer for layer in net.layer if layer.name not in whole)
    return add_statistics(result, objective.style, objective)


def keep_pixels(net: NetParameter) -> NetParameter:
    """Lets the net see the painted picture only under its mask, and the content elsewhere.

    What PARAMETER `input1` makes is `painted`; MASK and ELTWISE join it with `kept_part`.
    """
    net = copied(net)
    blob, first = image_blob(net), net.layer[0]
    first.top[0] = "painted"
    joined = [
        LayerParameter(
            name="painted_part",
            type="Mask",
            bottom=["painted", PAINTED_MASK],
            top=["painted_part"],
        ),
        LayerParameter(
            name="picture", type="Eltwise", bottom=["painted_part", KEPT_PART], top=[blob]
        ),
    ]
    inputs = [layer for layer in net.layer[1:] if layer.name in (PAINTED_MASK, KEPT_PART)]
    others = [layer for layer in net.layer[1:] if layer.name not in (PAINTED_MASK, KEPT_PART)]
    result = copied(net)
    del result.layer[:]
    result.layer.extend([first, *inputs, *joined, *others])
    return result


def content_mask_blob(tap: Tap) -> str:
    """Name of the layer and blob that hold the roots of the weights of a content tap's places."""
    return mask_blob(replace(tap, region="content"))
