"""Which layers to look at when none are named: the usual ones, found from the net's shape alone.

Features are grouped by how many pixels lie between two of their places: 1, 2, 4, 8, 16. Style is compared at
the first rectified blob of each group, content at the second one of the group of 8. Of VGG this gives
conv1_1, conv2_1, conv3_1, conv4_1, conv5_1 and conv4_2, as Gatys chose; where modules end in a Concat, as in
GoogLeNet and SqueezeNet, only those blobs count.
"""

from __future__ import annotations

from nst.core import TEST
from nst.errors import NetError
from nst.net import filter_layers
from nst.proto import LayerParameter, NetParameter, NetState
from nst.style.feature_net import as_input, image_blob, is_rectified

STYLE_TAPS = 5
CONTENT_STRIDE = 8


def default_style_taps(net: NetParameter) -> list[str]:
    """Blobs for the style, shallow first; raises NetError if the net has no rectified features."""
    groups = _groups(net)
    taps = [group[0] for group in groups.values()][:STYLE_TAPS]
    largest = max(groups.values(), key=len)
    if len(taps) < STYLE_TAPS and len(largest) > 2:
        taps.insert(taps.index(largest[0]) + 1, largest[len(largest) // 2])
    return taps


def default_content_tap(net: NetParameter) -> str:
    """The blob for the content; raises NetError if the net has no rectified features."""
    groups = _groups(net)
    stride = min(groups, key=lambda stride: (abs(stride - CONTENT_STRIDE), -stride))
    return groups[stride][:2][-1]


def feature_blobs(net: NetParameter) -> list[str]:
    """All blobs that the usual ones are chosen from, shallow first."""
    return [blob for group in _groups(net).values() for blob in group]


def _groups(net: NetParameter) -> dict[int, list[str]]:
    """Rectified blobs by their stride in pixels, both rising."""
    net = as_input(filter_layers(net, NetState(phase=TEST)))
    strides = {image_blob(net): 1}
    found: dict[int, dict[str, str]] = {}
    for layer in net.layer:
        before = [strides[bottom] for bottom in layer.bottom if bottom in strides]
        if len(before) != len(layer.bottom) or not before or _ends_the_maps(layer):
            continue
        stride = max(before) * _stride_of(layer)
        strides.update(dict.fromkeys(layer.top, stride))
        if layer.type in ("ReLU", "Concat") and is_rectified(net, layer.top[0]):
            found.setdefault(stride, {})[layer.top[0]] = layer.type
    if not found:
        raise NetError(
            f"net '{net.name}' has no feature maps behind a ReLU (got no candidates for style and "
            "content layers). Name the layers"
        )
    return {stride: _modules_or_all(blobs) for stride, blobs in sorted(found.items())}


def _modules_or_all(blobs: dict[str, str]) -> list[str]:
    ends = [blob for blob, kind in blobs.items() if kind == "Concat"]
    return ends or list(blobs)


def _ends_the_maps(layer: LayerParameter) -> bool:
    return layer.type in ("InnerProduct", "Flatten", "Reshape") or (
        layer.type == "Pooling" and layer.pooling_param.global_pooling
    )


def _stride_of(layer: LayerParameter) -> int:
    if layer.type == "Pooling":
        pool = layer.pooling_param
        return max(pool.stride, pool.stride_h, pool.stride_w)
    if layer.type == "Convolution":
        window = layer.convolution_param
        return max([1, *window.stride, window.stride_h, window.stride_w])
    return 1
