"""The bare feature net: any Caffe net cut down to what the taps need, fed from one layer `input1`.

Pure passes NetParameter -> NetParameter, and the questions that the augmentation asks of a net.
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.errors import NetError, UsageError, did_you_mean
from nst.layers import layer_class
from nst.proto import LayerParameter, NetParameter

IMAGE_LAYER = "input1"
"""The layer that feeds the net: INPUT while features are taken, PARAMETER while it paints."""


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
    net = copied(net)
    for layer in net.layer:
        if layer.type == "Pooling":
            layer.pooling_param.pool = method  # type: ignore[assignment]
    return net


def use_padding(net: NetParameter, mode: int, *, every_layer: bool) -> NetParameter:
    """Lets a PAD layer `pad_X` do the padding of convolution X: of those that read the picture, or of all.

    Convolutions of the picture pad at least half their kernel, so that the pixels at its edge count as much
    as the others: those that few windows see go astray.
    """
    net = copied(net)
    picture = image_blob(net)
    layers: list[LayerParameter] = []
    for layer in net.layer:
        of_picture = picture in layer.bottom
        pads = _take_pads(layer, of_picture) if every_layer or of_picture else (0, 0)
        if any(pads):
            padded = LayerParameter(name=f"pad_{layer.name}", type="Pad", bottom=[layer.bottom[0]])
            padded.top.append(padded.name)
            padded.pad_param.pad_h, padded.pad_param.pad_w = pads
            padded.pad_param.mode = mode  # type: ignore[assignment]
            layers.append(padded)
            layer.bottom[0] = padded.name
        layers.append(layer)
    return _with_layers(net, layers)


def _take_pads(layer: LayerParameter, at_least_half: bool) -> tuple[int, int]:
    """The padding of a convolution of one bottom, which then has none; 0 for other layers."""
    if layer.type != "Convolution" or len(layer.bottom) != 1:
        return 0, 0
    p = layer.convolution_param
    pads = [p.pad_h, p.pad_w] if p.pad_h or p.pad_w else (list(p.pad) or [0])
    for field in ("pad", "pad_h", "pad_w"):
        p.ClearField(field)
    if not at_least_half:
        return pads[0], pads[-1]
    kernel = [p.kernel_h, p.kernel_w] if p.kernel_h or p.kernel_w else list(p.kernel_size)
    halves = [size // 2 for size in kernel]
    return max(pads[0], halves[0]), max(pads[-1], halves[-1])


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


def copied(net: NetParameter) -> NetParameter:
    """A copy to work on: passes never change their argument."""
    copy = NetParameter()
    copy.CopyFrom(net)
    return copy


def _with_layers(net: NetParameter, layers: Sequence[LayerParameter]) -> NetParameter:
    result = copied(net)
    del result.layer[:]
    result.layer.extend(layers)
    return result
