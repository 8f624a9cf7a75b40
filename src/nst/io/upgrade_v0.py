"""Nets of 2013 (`layers { layer { ... } }`, one flat list of settings) to the form of 2014."""

from __future__ import annotations

import logging

from nst.errors import PrototxtError, did_you_mean
from nst.proto import NetParameter, V0LayerParameter, V1LayerParameter

_LOG = logging.getLogger("nst.io")

_TYPES = {
    "accuracy": V1LayerParameter.ACCURACY,
    "bnll": V1LayerParameter.BNLL,
    "concat": V1LayerParameter.CONCAT,
    "conv": V1LayerParameter.CONVOLUTION,
    "data": V1LayerParameter.DATA,
    "dropout": V1LayerParameter.DROPOUT,
    "euclidean_loss": V1LayerParameter.EUCLIDEAN_LOSS,
    "flatten": V1LayerParameter.FLATTEN,
    "hdf5_data": V1LayerParameter.HDF5_DATA,
    "hdf5_output": V1LayerParameter.HDF5_OUTPUT,
    "im2col": V1LayerParameter.IM2COL,
    "images": V1LayerParameter.IMAGE_DATA,
    "infogain_loss": V1LayerParameter.INFOGAIN_LOSS,
    "innerproduct": V1LayerParameter.INNER_PRODUCT,
    "lrn": V1LayerParameter.LRN,
    "multinomial_logistic_loss": V1LayerParameter.MULTINOMIAL_LOGISTIC_LOSS,
    "pool": V1LayerParameter.POOLING,
    "relu": V1LayerParameter.RELU,
    "sigmoid": V1LayerParameter.SIGMOID,
    "softmax": V1LayerParameter.SOFTMAX,
    "softmax_loss": V1LayerParameter.SOFTMAX_LOSS,
    "split": V1LayerParameter.SPLIT,
    "tanh": V1LayerParameter.TANH,
    "window_data": V1LayerParameter.WINDOW_DATA,
}

# (old setting, new setting, {old type: message that now holds it}); "*" stands for every type.
_CONV, _POOL = "convolution_param", "pooling_param"
_LEARNED = {"conv": _CONV, "innerproduct": "inner_product_param"}
_WINDOWED = {"conv": _CONV, "pool": _POOL}
_LRN = {"lrn": "lrn_param"}
_IMAGES = {"images": "image_data_param"}
_WINDOWS = {"window_data": "window_data_param"}
_BATCHES = {"data": "data_param", "hdf5_data": "hdf5_data_param"} | _IMAGES | _WINDOWS
_TRANSFORM = {"*": "transform_param"}
_SETTINGS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("num_output", "num_output", _LEARNED),
    ("biasterm", "bias_term", _LEARNED),
    ("weight_filler", "weight_filler", _LEARNED),
    ("bias_filler", "bias_filler", _LEARNED),
    ("pad", "pad", _WINDOWED),
    ("kernelsize", "kernel_size", _WINDOWED),
    ("group", "group", {"conv": _CONV}),
    ("stride", "stride", _WINDOWED),
    ("pool", "pool", {"pool": _POOL}),
    ("dropout_ratio", "dropout_ratio", {"dropout": "dropout_param"}),
    ("local_size", "local_size", _LRN),
    ("alpha", "alpha", _LRN),
    ("beta", "beta", _LRN),
    ("k", "k", _LRN),
    ("source", "source", _BATCHES | {"infogain_loss": "infogain_loss_param"}),
    ("scale", "scale", _TRANSFORM),
    ("meanfile", "mean_file", _TRANSFORM),
    ("batchsize", "batch_size", _BATCHES),
    ("cropsize", "crop_size", _TRANSFORM),
    ("mirror", "mirror", _TRANSFORM),
    ("rand_skip", "rand_skip", {"data": "data_param"} | _IMAGES),
    ("shuffle_images", "shuffle", _IMAGES),
    ("new_height", "new_height", _IMAGES),
    ("new_width", "new_width", _IMAGES),
    ("concat_dim", "concat_dim", {"concat": "concat_param"}),
    ("det_fg_threshold", "fg_threshold", _WINDOWS),
    ("det_bg_threshold", "bg_threshold", _WINDOWS),
    ("det_fg_fraction", "fg_fraction", _WINDOWS),
    ("det_context_pad", "context_pad", _WINDOWS),
    ("det_crop_mode", "crop_mode", _WINDOWS),
)


def is_v0(net: NetParameter) -> bool:
    """Says whether any layer has the form of 2013."""
    return any(layer.HasField("layer") for layer in net.layers)


def upgrade_v0(net: NetParameter, path: str) -> NetParameter:
    """Returns the net with its layers in the form of 2014; the argument is left as it is.

    Like Caffe, nothing else of the net is kept but its name, inputs and force_backward. Errors:
    PrototxtError for unknown types, misused padding layers, and layers of both forms in one net.
    Source: Caffe UpgradeV0Net.
    """
    for layer in net.layers:
        if not layer.HasField("layer"):
            text = f"layer '{layer.name}': stands among layers of the form of 2013. Use one form."
            raise PrototxtError(text, path=path)
    upgraded = NetParameter(input=net.input, input_dim=net.input_dim)
    for field in ("name", "force_backward"):
        if net.HasField(field):
            setattr(upgraded, field, getattr(net, field))
    upgraded.layers.extend(_upgraded(layer, path) for layer in _without_padding(net, path))
    return upgraded


def _without_padding(net: NetParameter, path: str) -> list[V1LayerParameter]:
    """Returns copies of the layers, padding layers dissolved into the `pad` of their readers."""
    producer: dict[str, V1LayerParameter | None] = dict.fromkeys(net.input)
    kept = []
    for original in net.layers:
        layer = V1LayerParameter()
        layer.CopyFrom(original)
        for index, bottom in enumerate(layer.bottom):
            if bottom not in producer:
                text = f"layer '{layer.layer.name}': unknown bottom blob '{bottom}'"
                raise PrototxtError(text, path=path)
            source = producer[bottom]
            if source is not None and source.layer.type == "padding":
                _check_padding(layer, source, path)
                layer.layer.pad = source.layer.pad
                layer.bottom[index] = source.bottom[0]
        producer.update((top, original) for top in layer.top)
        if layer.layer.type != "padding":
            kept.append(layer)
    return kept


def _check_padding(reader: V1LayerParameter, source: V1LayerParameter, path: str) -> None:
    where = f"layer '{reader.layer.name}': "
    if reader.layer.type not in ("conv", "pool"):
        text = f"reads the padding layer '{source.layer.name}', which only conv and pool can"
        raise PrototxtError(f"{where}{text} (got {reader.layer.type!r})", path=path)
    counts = (len(reader.bottom), len(source.bottom), len(source.top))
    if counts != (1, 1, 1):
        text = f"a padding layer and its reader take one bottom (got {counts}, expected (1, 1, 1))"
        raise PrototxtError(where + text, path=path)


def _upgraded(layer: V1LayerParameter, path: str) -> V1LayerParameter:
    old = layer.layer
    new = V1LayerParameter(bottom=layer.bottom, top=layer.top)
    if old.HasField("name"):
        new.name = old.name
    if old.HasField("type"):
        if old.type not in _TYPES:
            text = f"layer '{old.name}': unknown type {old.type!r}.{did_you_mean(old.type, _TYPES)}"
            raise PrototxtError(text, path=path)
        new.type = _TYPES[old.type]
    new.blobs.extend(old.blobs)
    new.blobs_lr.extend(old.blobs_lr)
    new.weight_decay.extend(old.weight_decay)
    for setting, target, homes in _SETTINGS:
        if old.HasField(setting):
            _move(old, setting, new, target, homes, path)
    if old.HasField("hdf5_output_param"):
        if old.type == "hdf5_output":
            new.hdf5_output_param.CopyFrom(old.hdf5_output_param)
        else:
            _warn_lost(old, "hdf5_output_param", path)
    return new


def _move(
    old: V0LayerParameter,
    setting: str,
    new: V1LayerParameter,
    target: str,
    homes: dict[str, str],
    path: str,
) -> None:
    home = homes.get("*") or homes.get(old.type)
    if home is None:
        _warn_lost(old, setting, path)
        return
    message, value = getattr(new, home), getattr(old, setting)
    if home == _CONV and target in ("pad", "kernel_size", "stride"):
        getattr(message, target).append(value)
    elif target.endswith("_filler"):
        getattr(message, target).CopyFrom(value)
    else:
        setattr(message, target, value)


def _warn_lost(old: V0LayerParameter, setting: str, path: str) -> None:
    _LOG.warning("%s: layer '%s': type %r has no %r, left out", path, old.name, old.type, setting)
