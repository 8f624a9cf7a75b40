"""Step 5: turning a feature net into the net that paints, as pure passes NetParameter -> NetParameter.

    feature_net.as_input, ...                      the bare feature net, input layer `input1`
    trim_taps, add_statistics                      the extraction net of steps 1 to 4
    add_inputs, take_regions, add_targets,         the solver net of steps 5 to 12
    add_content_losses, add_style_losses,
    add_tv_loss, add_temporal_losses (of a video),
    freeze_weights, image_as_parameter, keep_pixels

Names are MyCaffe's: gram_X, input_X, event_X, loss_X, input1. X is the name of a *blob*: with in-place
ReLU layers the blob conv4_2 holds what relu4_2 wrote, since the last writer of a name wins. With masks:
what `augment_regions` says.
"""

from __future__ import annotations

from collections.abc import Mapping

from nst.core import TEST, Shape
from nst.net import filter_layers
from nst.proto import (
    LayerParameter,
    NetParameter,
    NetState,
    PadParameter,
    ParamSpec,
    ScalarParameter,
    StyleTransferParameter,
)
from nst.style.augment_regions import (
    add_inputs,
    add_statistics,
    content_mask_blob,
    keep_pixels,
    take_regions,
)
from nst.style.feature_net import (
    IMAGE_LAYER,
    as_input,
    copied,
    image_blob,
    is_rectified,
    keep_ancestors,
    use_padding,
    use_pooling,
)
from nst.style.objective import Objective, content_loss_weight, gate_for
from nst.style.statistics import compares_features, source_blob, statistic_blob, style_loss
from nst.style.temporal import add_temporal_losses


def for_extraction(net: NetParameter, objective: Objective) -> NetParameter:
    """The net of steps 1 to 4: features up to the last tap, and a GRAM or other statistic per style tap."""
    net = as_input(filter_layers(net, NetState(phase=TEST)))
    net = keep_ancestors(net, objective.taps)
    if objective.pooling is not None:
        net = use_pooling(net, objective.pooling)
    if objective.padding is not None:
        net = use_padding(net, objective.padding, every_layer=objective.pad_every_layer)
    return add_statistics(trim_taps(net, objective), objective.whole_taps, objective)


def for_solving(
    extraction: NetParameter,
    objective: Objective,
    targets: Mapping[str, Shape],
    image_shape: Shape,
    param_counts: Mapping[str, int],
    inputs: Mapping[str, Shape] | None = None,
) -> NetParameter:
    """The net of steps 5 to 12.

    Args:
        extraction: what `for_extraction` made.
        targets: shapes of the saved blobs, by name (`conv4_2`, `gram_conv1_1`, ...).
        image_shape: (1, C, H, W) of the picture to paint.
        param_counts: how many learnable blobs each layer has, to freeze exactly those.
        inputs: shapes of the masks and of what is kept of the content, by name.
    """
    net = add_inputs(extraction, inputs or {})
    net = take_regions(net, objective)
    net = add_targets(net, targets)
    net = add_content_losses(net, objective, targets)
    net = add_style_losses(net, objective, targets)
    net = add_tv_loss(net, objective)
    net = add_temporal_losses(net, objective, targets)
    net = freeze_weights(net, param_counts)
    net = image_as_parameter(net, image_shape)
    if objective.is_partly_kept:
        net = keep_pixels(net)
    net.force_backward = False
    return net


def saved_blobs(objective: Objective) -> list[str]:
    """Blobs that steps 1 to 4 save: the statistics, those of regions by their names, and the content's."""
    return [statistic_blob(tap) for tap in objective.style] + [
        tap.blob for tap in objective.content
    ]


# ---- what is added ----------------------------------------------------------------------------


def trim_taps(net: NetParameter, objective: Objective) -> NetParameter:
    """Appends TRIM `trim_X` to every style tap X, if statistics leave out places along its edges."""
    net = copied(net)
    for blob in (
        dict.fromkeys(tap.blob for tap in objective.style) if objective.style_margin else ()
    ):
        name = source_blob(blob, objective)
        layer = net.layer.add(name=name, type="Trim", bottom=[blob], top=[name])
        layer.trim_param.margin = objective.style_margin
    return net


def add_targets(net: NetParameter, targets: Mapping[str, Shape]) -> NetParameter:
    """Appends INPUT `input_X` for every saved blob X."""
    net = copied(net)
    for name, shape in targets.items():
        layer = net.layer.add(name=f"input_{name}", type="Input", top=[f"input_{name}"])
        layer.input_param.shape.add().dim.extend(shape)
    return net


def add_content_losses(
    net: NetParameter, objective: Objective, targets: Mapping[str, Shape]
) -> NetParameter:
    """Per content tap X: SCALAR and MASK on feature and target (if there are any), EVENT, the loss."""
    net = copied(net)
    for tap in objective.content:
        feature, target = tap.blob, f"input_{tap.blob}"
        gate = gate_for(objective, is_rectified(net, feature))
        if objective.content_scale != 1:
            feature = _add_scalar(net, feature, objective)
            target = _add_scalar(net, target, objective)
        if objective.content_share is not None:
            feature = _add_mask(net, feature, content_mask_blob(tap))
            target = _add_mask(net, target, content_mask_blob(tap))
        relative = objective.content_loss == StyleTransferParameter.RELATIVE
        loss = LayerParameter(type="RelativeLoss" if relative else "EuclideanLoss")
        loss.loss_weight.append(content_loss_weight(objective, tap, targets[tap.blob]))
        _add_event_and_loss(net, tap.blob, feature, target, gate, loss)
    return net


def add_style_losses(
    net: NetParameter, objective: Objective, targets: Mapping[str, Shape]
) -> NetParameter:
    """Per style tap X: EVENT and the loss between `gram_X` and its target.

    Features and those of the style have other sizes: they meet in the loss without an EVENT between.
    """
    net = copied(net)
    for tap in objective.style:
        name = statistic_blob(tap)
        gate = gate_for(objective, is_rectified(net, tap.blob))
        loss = style_loss(tap, objective, targets[name])
        if compares_features(tap):
            _add_loss(net, name, name, f"input_{name}", loss)
        else:
            _add_event_and_loss(net, name, name, f"input_{name}", gate, loss)
    return net


def add_tv_loss(net: NetParameter, objective: Objective) -> NetParameter:
    """Appends TV_LOSS `loss_tv` on the picture, if it has a weight.

    Of a picture that tiles it sees one more line beyond each edge, so that the seams are smoothed as well.
    """
    net = copied(net)
    if objective.tv_weight:
        picture = image_blob(net)
        if objective.padding == PadParameter.CIRCULAR:
            pad = net.layer.add(name="pad_tv", type="Pad", bottom=[picture], top=["pad_tv"])
            pad.pad_param.pad_h = pad.pad_param.pad_w = 1
            pad.pad_param.mode, picture = PadParameter.CIRCULAR, "pad_tv"
        layer = net.layer.add(name="loss_tv", type="TVLoss", bottom=[picture])
        layer.top.append("loss_tv")
        layer.loss_weight.append(objective.tv_weight)
        layer.tv_loss_param.CopyFrom(objective.tv)
    return net


def freeze_weights(net: NetParameter, param_counts: Mapping[str, int]) -> NetParameter:
    """Sets lr_mult and decay_mult of every learnable blob of every layer to 0."""
    net = copied(net)
    for layer in net.layer:
        names = [spec.name for spec in layer.param]
        del layer.param[:]
        for index in range(param_counts.get(layer.name, 0)):
            spec = ParamSpec(lr_mult=0, decay_mult=0)
            if index < len(names) and names[index]:
                spec.name = names[index]
            layer.param.append(spec)
    return net


def image_as_parameter(net: NetParameter, shape: Shape) -> NetParameter:
    """Turns INPUT `input1` into PARAMETER `input1`: from here on the picture is what is learned."""
    net = copied(net)
    entry = next(layer for layer in net.layer if layer.name == IMAGE_LAYER)
    blob = entry.top[0]
    entry.Clear()
    entry.name, entry.type = IMAGE_LAYER, "Parameter"
    entry.top.append(blob)
    entry.parameter_param.shape.dim.extend(shape)
    entry.param.add(lr_mult=1, decay_mult=0)
    return net


# ---- pieces -----------------------------------------------------------------------------------


def _add_mask(net: NetParameter, blob: str, mask: str) -> str:
    """MASK from X to `X@content`; returns the new blob's name."""
    name = f"{blob}@content"
    net.layer.add(name=f"masked_{blob}", type="Mask", bottom=[blob, mask], top=[name])
    return name


def _add_scalar(net: NetParameter, blob: str, objective: Objective) -> str:
    """SCALAR from X to `Xb`, MyCaffe's name; returns the new blob's name."""
    layer = net.layer.add(name=f"scalar_{blob}", type="Scalar", bottom=[blob], top=[f"{blob}b"])
    layer.scalar_param.value = objective.content_scale
    layer.scalar_param.operation = ScalarParameter.MUL
    layer.scalar_param.passthrough_gradient = not objective.exact_gradient
    return f"{blob}b"


def _add_event_and_loss(
    net: NetParameter, name: str, feature: str, target: str, gate: int, loss: LayerParameter
) -> None:
    event = net.layer.add(name=f"event_{name}", type="Event", top=[f"event_{name}"])
    event.bottom.extend([feature, target])
    event.event_param.gate = gate  # type: ignore[assignment]
    _add_loss(net, name, f"event_{name}", target, loss)


def _add_loss(
    net: NetParameter, name: str, feature: str, target: str, loss: LayerParameter
) -> None:
    loss.name = f"loss_{name}"
    loss.bottom.extend([feature, target])
    loss.top.append(f"loss_{name}")
    net.layer.append(loss)
