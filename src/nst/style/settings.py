"""Merging settings: flags over the solver file over the preset, field by field.

A field that is set above wins; a repeated field is replaced whole. A style or content term without taps
of its own takes those of the settings below.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from nst.backend import Backend
from nst.proto import (
    ContentTerm,
    FeatureWeight,
    SolverParameter,
    StyleTerm,
    StyleTransferParameter,
)
from nst.style.presets import find_preset

M = TypeVar("M", bound=Message)

_OF_THE_MODEL_OR_USER = (
    "preset",
    "content",
    "style",
    "transform_param",
    "color_order",
    "output",
    "save_every",
    "video",
    "keep_mask",
    "aspect",
)

_INSTEAD_OF = {"size": ("sizes", "iterations"), "sizes": ("size", "iterations")}
"""A field above -> fields below that it replaces: one size stands for a whole schedule."""


def merged(under: M, over: M) -> M:
    """Returns `under` with every field that `over` sets replaced; neither argument is changed."""
    result = type(under)()
    result.CopyFrom(under)
    given = {field.name for field, _ in over.ListFields()}
    replaced = {other for field in given for other in _INSTEAD_OF.get(field, ())}
    if isinstance(under, StyleTransferParameter) and "size" in given and not under.sizes:
        replaced.discard(
            "iterations"
        )  # they belong to a ladder of sizes, which the size just shifts
    for name in replaced - given:
        if name in result.DESCRIPTOR.fields_by_name:
            result.ClearField(name)
    if isinstance(result, SolverParameter) and "max_iter" in given:
        result.style_transfer_param.ClearField("iterations")
    for field, value in over.ListFields():
        current = getattr(result, field.name)
        if hasattr(value, "extend"):
            result.ClearField(field.name)
            getattr(result, field.name).extend(value)
        elif field.type == field.TYPE_MESSAGE:
            current.CopyFrom(merged(current, value))
        else:
            setattr(result, field.name, value)
    if isinstance(under, StyleTransferParameter) and isinstance(result, StyleTransferParameter):
        _inherit_taps(result, under)
    return result


def with_preset(file: SolverParameter, flags: SolverParameter) -> SolverParameter:
    """The settings of a run: flags over file over preset.

    A preset named by a flag starts over: of the file only the model, the pictures, their taps and what
    happens to the result are kept; how much each tap weighs is the preset's to say. A preset named in the
    file fills in what the file leaves unset.
    """
    chosen = flags.style_transfer_param.preset
    if chosen:
        file = _without_objective(file, find_preset(chosen).settings.style_transfer_param)
    name = chosen or file.style_transfer_param.preset
    if not name:
        return merged(file, flags)
    settings = merged(merged(find_preset(name).settings, file), flags)
    settings.style_transfer_param.preset = name
    return settings


def without_examples(
    settings: SolverParameter, *, has_content: bool, has_style: bool
) -> SolverParameter:
    """A model's settings without the example pictures that stand beside a picture of the user's own.

    A style alone is then a texture, a content alone is reconstructed; their taps stay.
    """
    result = SolverParameter()
    result.CopyFrom(settings)
    style = result.style_transfer_param
    if has_style and not has_content:
        style.content.ClearField("image")
    elif has_content and not has_style:
        for term in style.style:
            term.ClearField("image")
    if has_style != has_content:
        style.ClearField("init")
    return result


def _without_objective(file: SolverParameter, preset: StyleTransferParameter) -> SolverParameter:
    kept = SolverParameter()
    for name in ("net", "net_param", "weights", "snapshot", "snapshot_prefix", "random_seed"):
        _copy_field(file, kept, name)
    for name in _OF_THE_MODEL_OR_USER:
        _copy_field(file.style_transfer_param, kept.style_transfer_param, name)
    style = kept.style_transfer_param
    if style.HasField("content"):
        _reweigh(style.content, preset.content)
    for term in style.style:
        _reweigh(term, preset.style[0] if preset.style else StyleTerm())
    return kept


def _reweigh(term: StyleTerm | ContentTerm, preset: StyleTerm | ContentTerm) -> None:
    """Gives every tap what the preset says of it, by its name or else its place; 1 if it says nothing."""
    named = {layer.name: layer for layer in preset.layer if layer.name}
    for place, layer in enumerate(term.layer):
        layer.ClearField("weight")
        layer.ClearField("statistic")
        at_place = preset.layer[place] if place < len(preset.layer) else None
        nameless = at_place if at_place is not None and not at_place.name else None
        source = named.get(layer.name, nameless)
        if source is not None:
            layer.MergeFrom(FeatureWeight(name=layer.name, weight=source.weight))
            if source.HasField("statistic"):
                layer.statistic = source.statistic


def _copy_field(source: Message, target: Message, name: str) -> None:
    for field, value in source.ListFields():
        if field.name != name:
            continue
        if hasattr(value, "extend"):
            getattr(target, name).extend(value)
        elif field.type == field.TYPE_MESSAGE:
            getattr(target, name).CopyFrom(value)
        else:
            setattr(target, name, value)


def _inherit_taps(result: StyleTransferParameter, under: StyleTransferParameter) -> None:
    """Terms that name no taps take those of the first term below, and its stretch and scale."""
    if under.style:
        for term in result.style:
            _inherit(term, under.style[0])
    if under.HasField("content") and result.HasField("content"):
        _inherit(result.content, under.content)


def _inherit(term: StyleTerm | ContentTerm, below: StyleTerm | ContentTerm) -> None:
    if not term.layer:
        term.layer.extend(below.layer)
    if isinstance(term, StyleTerm) and isinstance(below, StyleTerm):
        for name in ("stretch", "scale"):
            if not term.HasField(name) and below.HasField(name):
                setattr(term, name, getattr(below, name))


def at_precision(backend: Backend, param: StyleTransferParameter) -> Backend:
    """The backend in the precision that the settings ask for."""
    if not param.HasField("precision"):
        return backend
    name = StyleTransferParameter.Precision.Name(param.precision)
    return backend.at_precision(name.lower())
