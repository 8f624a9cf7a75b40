"""From parsed flags to the message that holds what they set, and nothing else."""

from __future__ import annotations

import argparse
from typing import Any

from nst.cli.flag_help import (
    RESULT,
    SOLVER,
    TOTAL_VARIATION,
    VIDEO,
    objective_fields,
    video_field,
)
from nst.cli.flag_values import WeightedName
from nst.errors import UsageError
from nst.proto import InitialImage, PadParameter, SolverParameter, StyleTransferParameter


def to_message(args: argparse.Namespace) -> SolverParameter:
    """What the flags set, and nothing else. Taps and scale of styles: see `apply_to_styles`."""
    settings = SolverParameter()
    style = settings.style_transfer_param
    for name in (*objective_fields(), *RESULT, *SOLVER):
        value = getattr(args, name)
        holder = style if name in StyleTransferParameter.DESCRIPTOR.fields_by_name else settings
        if isinstance(value, tuple):  # --size 800x300
            style.size = max(value)
            style.aspect.extend(value)
        elif isinstance(value, list):
            getattr(holder, name).extend(value)
        elif value is not None:
            setattr(holder, name, value)
    if args.iterations:
        style.iterations.extend(args.iterations)
        settings.max_iter = args.iterations[-1]
    if args.seed is not None:
        settings.random_seed = args.seed
    if args.net is not None:
        settings.net = args.net
    settings.weights.extend(args.weights or [])
    for name in TOTAL_VARIATION:
        if getattr(args, f"tv_{name}") is not None:
            setattr(style.tv_loss_param, name, getattr(args, f"tv_{name}"))
    _set_video(style, args)
    if args.tileable:
        style.padding, style.pad_every_layer = PadParameter.CIRCULAR, True
        if not style.HasField("style_margin"):
            style.style_margin = 0  # no place is at an edge; those left out would show as a seam
    _set_pictures(style, args)
    _set_preprocessing(style, args)
    if not style.ListFields():
        settings.ClearField("style_transfer_param")
    return settings


def apply_to_styles(settings: SolverParameter, args: argparse.Namespace) -> None:
    """Puts `--style-layers`, `--style-scale` and `--style-stretch` into every style term."""
    terms = settings.style_transfer_param.style
    scales = args.style_scale or []
    if len(scales) > 1 and len(scales) != len(terms):
        raise UsageError(
            f"--style-scale: one for all or one per style (got {len(scales)}, expected {len(terms)})"
        )
    for number, term in enumerate(terms):
        if args.style_layers:
            del term.layer[:]
            _add_layers(term.layer, args.style_layers)
        if scales:
            term.scale = scales[number] if len(scales) > 1 else scales[0]
        if args.style_stretch is not None:
            term.stretch = args.style_stretch


def _set_video(style: StyleTransferParameter, args: argparse.Namespace) -> None:
    for flag in VIDEO:
        value, name = getattr(args, flag, None), video_field(flag)
        if isinstance(value, list):
            getattr(style.video, name).extend(value)
        elif value is not None:
            setattr(style.video, name, value)


def _set_pictures(style: StyleTransferParameter, args: argparse.Namespace) -> None:
    if args.content is not None:
        style.content.image = args.content
    if args.content_mask is not None:
        style.content.mask = args.content_mask
    if args.keep_mask is not None:
        style.keep_mask = args.keep_mask
    _add_layers(style.content.layer, args.content_layers or [])
    for given in args.style or []:
        term = style.style.add(image=given.name)
        for name in ("weight", "mask", "style_mask", "region"):
            if getattr(given, name) not in (None, ""):
                setattr(term, name, getattr(given, name))
    if args.init is not None:
        setattr(style.init, "from", args.init)
    if args.init_image is not None:
        style.init.image = args.init_image
        setattr(style.init, "from", InitialImage.IMAGE)
    for name in ("blend", "noise_std"):
        if getattr(args, name) is not None:
            setattr(style.init, name, getattr(args, name))
    if not args.content and not args.content_layers and not args.content_mask:
        style.ClearField("content")


def _set_preprocessing(style: StyleTransferParameter, args: argparse.Namespace) -> None:
    if args.mean:
        style.transform_param.mean_value.extend(args.mean)
    if args.input_scale is not None:
        style.transform_param.scale = args.input_scale
    if args.color_order is not None:
        style.color_order = args.color_order


def _add_layers(target: Any, layers: list[WeightedName]) -> None:
    for given in layers:
        layer = target.add(name=given.name)
        if given.weight is not None:
            layer.weight = given.weight
        if given.statistic is not None:
            layer.statistic = given.statistic
