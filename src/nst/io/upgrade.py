"""Old forms of nets and solvers to the current one: pure functions, message in, new message out.

The order is Caffe's: layers of 2013 (V0), data transforms, layers of 2014 (V1), input fields, BatchNorm.
Text and binary take the same way. What was old about a file is logged once, as one warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from nst.errors import PrototxtError
from nst.io.type_names import LAYER_TYPES, SOLVER_TYPES, canonical_type
from nst.io.upgrade_v0 import is_v0, upgrade_v0
from nst.proto import (
    LayerParameter,
    NetParameter,
    SolverParameter,
    TransformationParameter,
    V1LayerParameter,
)

_LOG = logging.getLogger("nst.io")

Upgrade = Callable[[NetParameter, str], NetParameter]

# V1 types by number, in current words.
_V1_WORDS: dict[int, str] = {
    number: canonical_type(word, LAYER_TYPES)
    for word, number in V1LayerParameter.LayerType.items()
    if number != V1LayerParameter.NONE
}
_DATA_PARAMS = {
    V1LayerParameter.DATA: "data_param",
    V1LayerParameter.IMAGE_DATA: "image_data_param",
    V1LayerParameter.WINDOW_DATA: "window_data_param",
}
_TRANSFORMS = ("scale", "mean_file", "crop_size", "mirror")
_MYCAFFE_SETTINGS = ("cudnn_workspace_limit", "cudnn_workspace_allow_on_groups")
_SOLVER_WORDS: dict[int, str] = {
    number: canonical_type(word, SOLVER_TYPES)
    for word, number in SolverParameter.SolverType.items()
}


def upgrade_net(net: NetParameter, path: str = "<net>") -> NetParameter:
    """Returns the net in the current form; the argument is left as it is.

    Layer types come out in their canonical spelling, unknown ones as they are. Errors: PrototxtError
    when the old form contradicts itself. Source: Caffe UpgradeNetAsNeeded.
    """
    steps: tuple[tuple[str, Callable[[NetParameter], bool], Upgrade], ...] = (
        ("layers of the form of 2013 (V0)", is_v0, upgrade_v0),
        ("transforms inside data layers", _has_data_transforms, _upgrade_data_transforms),
        ("'layers' instead of 'layer' (V1)", _is_v1, _upgrade_v1),
        ("input fields instead of an Input layer", _has_inputs, _upgrade_inputs),
        ("", _has_other_spellings, _upgrade_spellings),
        ("settings that only MyCaffe has", _has_mycaffe_settings, _drop_mycaffe_settings),
        ("learning rates for BatchNorm statistics", _has_batch_norm_rates, _upgrade_batch_norm),
    )
    if net.layer and net.layers:
        text = f"has both 'layer' ({len(net.layer)}) and 'layers' ({len(net.layers)}). Use 'layer'."
        raise PrototxtError(text, path=path)
    upgraded, old = NetParameter(), []
    upgraded.CopyFrom(net)
    for what, is_needed, upgrade in steps:
        if is_needed(upgraded):
            upgraded = upgrade(upgraded, path)
            old += [what] if what else []
    if old:
        _LOG.warning("%s: brought to the current form: %s", path, "; ".join(old))
    return upgraded


def upgrade_solver(solver: SolverParameter, path: str = "<solver>") -> SolverParameter:
    """Returns the solver settings in the current form; the argument is left as it is.

    `solver_type` becomes `type`, MyCaffe's `lbgfs_corrections` becomes `lbfgs_corrections`, nets
    written out inside are upgraded. Errors: PrototxtError when both spellings are given.
    Source: Caffe UpgradeSolverAsNeeded.
    """
    upgraded = SolverParameter()
    upgraded.CopyFrom(solver)
    old = []
    if solver.HasField("solver_type"):
        if solver.HasField("type"):
            raise PrototxtError("'solver_type' and 'type' are both given. Use 'type'.", path=path)
        upgraded.type = _SOLVER_WORDS[solver.solver_type]
        upgraded.ClearField("solver_type")
        old.append("'solver_type' instead of 'type'")
    elif solver.HasField("type"):
        upgraded.type = canonical_type(solver.type, SOLVER_TYPES)
    if solver.HasField("lbgfs_corrections"):
        if solver.HasField("lbfgs_corrections"):
            text = "'lbgfs_corrections' and 'lbfgs_corrections' are both given. Use the latter."
            raise PrototxtError(text, path=path)
        upgraded.lbfgs_corrections = solver.lbgfs_corrections
        upgraded.ClearField("lbgfs_corrections")
        old.append("'lbgfs_corrections' instead of 'lbfgs_corrections'")
    _upgrade_inner_nets(upgraded, path)
    if old:
        _LOG.warning("%s: brought to the current form: %s", path, "; ".join(old))
    return upgraded


def _upgrade_inner_nets(solver: SolverParameter, path: str) -> None:
    for field in ("net_param", "train_net_param"):
        if solver.HasField(field):
            net = getattr(solver, field)
            net.CopyFrom(upgrade_net(net, path))
    for net in solver.test_net_param:
        net.CopyFrom(upgrade_net(net, path))


def _has_data_transforms(net: NetParameter) -> bool:
    return any(
        getattr(layer, _DATA_PARAMS[layer.type]).HasField(name)
        for layer in net.layers
        if layer.type in _DATA_PARAMS
        for name in _TRANSFORMS
    )


def _upgrade_data_transforms(net: NetParameter, path: str) -> NetParameter:
    for layer in net.layers:
        if layer.type in _DATA_PARAMS and layer.HasField(_DATA_PARAMS[layer.type]):
            settings = getattr(layer, _DATA_PARAMS[layer.type])
            transform = TransformationParameter()
            for name in _TRANSFORMS:
                if settings.HasField(name):
                    setattr(transform, name, getattr(settings, name))
                    settings.ClearField(name)
            if transform.ByteSize():
                layer.transform_param.MergeFrom(transform)
    return net


def _is_v1(net: NetParameter) -> bool:
    return bool(net.layers)


def _upgrade_v1(net: NetParameter, path: str) -> NetParameter:
    net.layer.extend(_upgraded_layer(layer) for layer in net.layers)
    net.ClearField("layers")
    return net


def _upgraded_layer(old: V1LayerParameter) -> LayerParameter:
    new = LayerParameter()
    for field, value in old.ListFields():
        name = field.name
        if name == "type":
            new.type = _V1_WORDS.get(value, "")
        elif name in ("bottom", "top", "include", "exclude", "blobs", "loss_weight"):
            getattr(new, name).extend(value)
        elif name == "name":
            new.name = value
        elif name.endswith("_param"):
            getattr(new, name).CopyFrom(value)
    lists: dict[str, Iterable[str | int | float]]
    lists = {"name": old.param, "share_mode": old.blob_share_mode}
    lists |= {"lr_mult": old.blobs_lr, "decay_mult": old.weight_decay}
    for name, values in lists.items():
        for index, value in enumerate(values):
            while len(new.param) <= index:
                new.param.add()
            setattr(new.param[index], name, value)
    return new


def _has_inputs(net: NetParameter) -> bool:
    return bool(net.input)


def _upgrade_inputs(net: NetParameter, path: str) -> NetParameter:
    """Puts an Input layer first; inputs without any shape are dropped, as old caffemodels have them."""
    layers = [LayerParameter()]
    if net.input_shape or net.input_dim:
        layers[0].name, layers[0].type = "input", "Input"
        layers[0].top.extend(net.input)
        for shape in _input_shapes(net, path):
            layers[0].input_param.shape.add(dim=shape)
    else:
        layers.clear()
    layers.extend(net.layer)
    for field in ("input", "input_shape", "input_dim", "layer"):
        net.ClearField(field)
    net.layer.extend(layers)
    return net


def _input_shapes(net: NetParameter, path: str) -> list[list[int]]:
    count = len(net.input)
    if net.input_shape:
        if len(net.input_shape) != count:
            text = f"one 'input_shape' per 'input' (got {len(net.input_shape)}, expected {count})"
            raise PrototxtError(text, path=path)
        return [list(shape.dim) for shape in net.input_shape]
    dims = list(net.input_dim)
    if len(dims) != 4 * count:
        text = f"four 'input_dim' per 'input' (got {len(dims)}, expected {4 * count})"
        raise PrototxtError(text, path=path)
    return [dims[start : start + 4] for start in range(0, len(dims), 4)]


def _has_other_spellings(net: NetParameter) -> bool:
    return any(layer.type != canonical_type(layer.type, LAYER_TYPES) for layer in net.layer)


def _upgrade_spellings(net: NetParameter, path: str) -> NetParameter:
    for layer in net.layer:
        if layer.HasField("type"):
            layer.type = canonical_type(layer.type, LAYER_TYPES)
    return net


def _has_mycaffe_settings(net: NetParameter) -> bool:
    return any(
        layer.HasField("freeze_learning")
        or any(layer.convolution_param.HasField(name) for name in _MYCAFFE_SETTINGS)
        for layer in net.layer
    )


def _drop_mycaffe_settings(net: NetParameter, path: str) -> NetParameter:
    for layer in net.layer:
        if layer.freeze_learning:
            text = "'freeze_learning: true' is MyCaffe's. Use 'lr_mult: 0' and 'propagate_down: false'."
            raise PrototxtError(f"layer '{layer.name}': {text}", path=path)
        layer.ClearField("freeze_learning")
        if layer.HasField("convolution_param"):
            for name in _MYCAFFE_SETTINGS:
                layer.convolution_param.ClearField(name)
    return net


def _has_batch_norm_rates(net: NetParameter) -> bool:
    return any(
        layer.type == "BatchNorm"
        and len(layer.param) == 3
        and any(spec.lr_mult or spec.decay_mult for spec in layer.param)
        for layer in net.layer
    )


def _upgrade_batch_norm(net: NetParameter, path: str) -> NetParameter:
    for layer in net.layer:
        if layer.type == "BatchNorm" and len(layer.param) == 3:
            for spec in layer.param:
                spec.lr_mult = spec.decay_mult = 0.0
    return net
