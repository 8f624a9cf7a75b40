"""Step 5: turning a feature net into the net that paints, as pure passes NetParameter -> NetParameter.

    as_input, keep_ancestors, use_pooling          the bare feature net, input layer `input1`
    add_grams                                      the extraction net of steps 1 to 4
    add_targets, add_content_losses,               the solver net of steps 5 to 12
    add_style_losses, add_tv_loss,
    freeze_weights, image_as_parameter

Names are MyCaffe's: gram_X, input_X, event_X, loss_X, input1. X is the name of a *blob*: with in-place
ReLU layers the blob conv4_2 holds what relu4_2 wrote, since the last writer of a name wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nst.core import TEST, Shape
from nst.errors import NetError, UsageError, did_you_mean
from nst.layers import layer_class
from nst.net import filter_layers
from nst.proto import (
    LayerParameter,
    NetParameter,
    NetState,
    ParamSpec,
    ScalarParameter,
)
from nst.style.objective import (
    Objective,
    Tap,
    content_loss_weight,
    gate_for,
    style_loss_weight,
)

IMAGE_LAYER = "input1"
"""The layer that feeds the net: INPUT while features are taken, PARAMETER while it paints."""


def for_extraction(net: NetParameter, objective: Objective) -> NetParameter:
    """The net of steps 1 to 4: features up to the last tap, and a GRAM per style tap."""
    net = as_input(filter_layers(net, NetState(phase=TEST)))
    net = keep_ancestors(net, objective.taps)
    if objective.pooling is not None:
        net = use_pooling(net, objective.pooling)
    return add_grams(net, objective)


def for_solving(
    extraction: NetParameter,
    objective: Objective,
    targets: Mapping[str, Shape],
    image_shape: Shape,
    param_counts: Mapping[str, int],
) -> NetParameter:
    """The net of steps 5 to 12.

    Args:
        extraction: what `for_extraction` made.
        targets: shapes of the saved blobs, by name (`conv4_2`, `gram_conv1_1`, ...).
        image_shape: (1, C, H, W) of the picture to paint.
        param_counts: how many learnable blobs each layer has, to freeze exactly those.
    """
    net = add_targets(extraction, targets)
    net = add_content_losses(net, objective, targets)
    net = add_style_losses(net, objective, targets)
    net = add_tv_loss(net, objective)
    net = freeze_weights(net, param_counts)
    net = image_as_parameter(net, image_shape)
    net.force_backward = False
    return net


# ---- the bare feature net ---------------------------------------------------------------------


def as_input(net: NetParameter) -> NetParameter:
    """Feeds the net from one Input layer named `input1`, in place of whatever fed it before.

    Raises NetError if there is nothing to replace, or more than one input blob.
    """
    sources = [layer for layer in net.layer if layer_class(layer.type, layer=layer.name).is_source]
    if not sources:
        raise NetError(f"net '{net.name}' has no input or data layer to feed the picture into")
    if sources[0].type == "Input" and (len(sources) > 1 or len(sources[0].top) > 1):
        tops = [top for layer in sources for top in layer.top]
        raise NetError(
            f"net '{net.name}' has several inputs (got {', '.join(tops)}, expected one, the picture)"
        )
    shapes = sources[0].input_param.shape if sources[0].type == "Input" else []
    entry = LayerParameter(name=IMAGE_LAYER, type="Input", top=[sources[0].top[0]])
    entry.input_param.shape.extend(shapes or LayerParameter().input_param.shape)
    if not shapes:
        entry.input_param.shape.add().dim.extend([1, 3, 224, 224])
    kept = [layer for layer in net.layer if not any(layer is source for source in sources)]
    return _with_layers(net, [entry, *kept])


def keep_ancestors(net: NetParameter, taps: Sequence[str]) -> NetParameter:
    """Keeps only the layers that the taps depend on, in their order; the input layer stays."""
    made = {top for layer in net.layer for top in layer.top}
    for tap in taps:
        if tap not in made:
            raise NetError(
                f"no blob '{tap}' in net '{net.name}' (expected one of its {len(made)} blobs)."
                f"{did_you_mean(tap, made)}"
            )
    needed, kept = set(taps), []
    for layer in reversed(net.layer):
        if layer.name == IMAGE_LAYER or needed.intersection(layer.top):
            needed.update(layer.bottom)
            kept.append(layer)
    return _with_layers(net, kept[::-1])


def resolve_tap(net: NetParameter, name: str) -> str:
    """Name of the blob that `name` means: a blob, or a layer, whose first top it then is."""
    blobs = {top for layer in net.layer for top in layer.top}
    if name in blobs:
        return name
    tops = {layer.name: layer.top[0] for layer in net.layer if layer.top}
    if name in tops:
        return tops[name]
    raise UsageError(
        f"layer '{name}': not a blob or layer of net '{net.name}'.{did_you_mean(name, [*blobs, *tops])}"
    )


def use_pooling(net: NetParameter, method: int) -> NetParameter:
    """Replaces the method of every Pooling layer (MAX or AVE)."""
    net = _copy(net)
    for layer in net.layer:
        if layer.type == "Pooling":
            layer.pooling_param.pool = method  # type: ignore[assignment]
    return net


# ---- what is added ----------------------------------------------------------------------------


def add_grams(net: NetParameter, objective: Objective) -> NetParameter:
    """Appends GRAM `gram_X` to every style tap X."""
    net = _copy(net)
    for tap in objective.style:
        layer = net.layer.add(
            name=f"gram_{tap.blob}", type="Gram", bottom=[tap.blob], top=[f"gram_{tap.blob}"]
        )
        param = layer.gram_param
        param.alpha = objective.gram_scale
        param.normalize = objective.gram_normalize  # type: ignore[assignment]
        param.disable_scaling_on_gradient = not objective.exact_gradient
    return net


def add_targets(net: NetParameter, targets: Mapping[str, Shape]) -> NetParameter:
    """Appends INPUT `input_X` for every saved blob X."""
    net = _copy(net)
    for name, shape in targets.items():
        layer = net.layer.add(name=f"input_{name}", type="Input", top=[f"input_{name}"])
        layer.input_param.shape.add().dim.extend(shape)
    return net


def add_content_losses(
    net: NetParameter, objective: Objective, targets: Mapping[str, Shape]
) -> NetParameter:
    """Per content tap X: SCALAR on feature and target (if there is a scale), EVENT, EUCLIDEAN_LOSS."""
    net = _copy(net)
    for tap in objective.content:
        feature, target = tap.blob, f"input_{tap.blob}"
        gate = gate_for(objective, is_rectified(net, feature))
        if objective.content_scale != 1:
            feature = _add_scalar(net, feature, objective)
            target = _add_scalar(net, target, objective)
        weight = content_loss_weight(objective, tap, targets[tap.blob])
        _add_event_and_loss(net, tap.blob, feature, target, gate, weight)
    return net


def add_style_losses(
    net: NetParameter, objective: Objective, targets: Mapping[str, Shape]
) -> NetParameter:
    """Per style tap X: EVENT and EUCLIDEAN_LOSS between `gram_X` and its target."""
    net = _copy(net)
    for tap in objective.style:
        gram = f"gram_{tap.blob}"
        gate = gate_for(objective, is_rectified(net, tap.blob))
        weight = style_loss_weight(objective, tap, targets[gram])
        _add_event_and_loss(net, gram, gram, f"input_{gram}", gate, weight)
    return net


def add_tv_loss(net: NetParameter, objective: Objective) -> NetParameter:
    """Appends TV_LOSS `loss_tv` on the picture, if it has a weight."""
    net = _copy(net)
    if objective.tv_weight:
        layer = net.layer.add(name="loss_tv", type="TVLoss", bottom=[image_blob(net)])
        layer.top.append("loss_tv")
        layer.loss_weight.append(objective.tv_weight)
        layer.tv_loss_param.CopyFrom(objective.tv)
    return net


def freeze_weights(net: NetParameter, param_counts: Mapping[str, int]) -> NetParameter:
    """Sets lr_mult and decay_mult of every learnable blob of every layer to 0."""
    net = _copy(net)
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
    net = _copy(net)
    entry = next(layer for layer in net.layer if layer.name == IMAGE_LAYER)
    blob = entry.top[0]
    entry.Clear()
    entry.name, entry.type = IMAGE_LAYER, "Parameter"
    entry.top.append(blob)
    entry.parameter_param.shape.dim.extend(shape)
    entry.param.add(lr_mult=1, decay_mult=0)
    return net


# ---- looking at nets --------------------------------------------------------------------------


def image_blob(net: NetParameter) -> str:
    """Name of the blob that holds the picture: the top of `input1`."""
    return next(layer.top[0] for layer in net.layer if layer.name == IMAGE_LAYER)


_KEEPS_SIGN = ("Pooling", "Split", "Concat", "Dropout", "LRN", "Flatten", "Reshape")


def is_rectified(net: NetParameter, blob: str) -> bool:
    """Whether a blob is never negative because all its sources are ReLUs (possibly pooled or joined)."""
    return _rectified_before(list(net.layer), blob, len(net.layer))


def _rectified_before(layers: list[LayerParameter], blob: str, end: int) -> bool:
    writer = next((i for i in range(end - 1, -1, -1) if blob in layers[i].top), None)
    if writer is None:
        return False
    layer = layers[writer]
    if layer.type == "ReLU":
        return layer.relu_param.negative_slope == 0
    if layer.type in _KEEPS_SIGN:
        return all(_rectified_before(layers, bottom, writer) for bottom in layer.bottom)
    return False


# ---- pieces -----------------------------------------------------------------------------------


def _add_scalar(net: NetParameter, blob: str, objective: Objective) -> str:
    """SCALAR from X to `Xb`, MyCaffe's name; returns the new blob's name."""
    layer = net.layer.add(name=f"scalar_{blob}", type="Scalar", bottom=[blob], top=[f"{blob}b"])
    layer.scalar_param.value = objective.content_scale
    layer.scalar_param.operation = ScalarParameter.MUL
    layer.scalar_param.passthrough_gradient = not objective.exact_gradient
    return f"{blob}b"


def _add_event_and_loss(
    net: NetParameter, name: str, feature: str, target: str, gate: int, weight: float
) -> None:
    event = net.layer.add(name=f"event_{name}", type="Event", top=[f"event_{name}"])
    event.bottom.extend([feature, target])
    event.event_param.gate = gate  # type: ignore[assignment]
    loss = net.layer.add(name=f"loss_{name}", type="EuclideanLoss", top=[f"loss_{name}"])
    loss.bottom.extend([f"event_{name}", target])
    loss.loss_weight.append(weight)


def _copy(net: NetParameter) -> NetParameter:
    copy = NetParameter()
    copy.CopyFrom(net)
    return copy


def _with_layers(net: NetParameter, layers: Sequence[LayerParameter]) -> NetParameter:
    result = _copy(net)
    del result.layer[:]
    result.layer.extend(layers)
    return result


__all__ = [
    "IMAGE_LAYER",
    "Tap",
    "add_content_losses",
    "add_grams",
    "add_style_losses",
    "add_targets",
    "add_tv_loss",
    "as_input",
    "for_extraction",
    "for_solving",
    "freeze_weights",
    "image_as_parameter",
    "image_blob",
    "is_rectified",
    "keep_ancestors",
    "resolve_tap",
    "use_pooling",
]
