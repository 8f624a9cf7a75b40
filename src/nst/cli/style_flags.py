"""The flags of a style run, one per field of the style block and of the solver, and what they set.

Plain fields get type, choices and name from the message itself (`tv_weight` -> `--tv-weight`); this file
adds only their help. Fields that hold messages (content, style, init) are spread over several flags.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from nst.cli.flag_values import WeightedName, enum, layers, numbers, picture_with_weight, whole
from nst.errors import UsageError
from nst.proto import InitialImage, SolverParameter, StyleTransferParameter

OBJECTIVE = {
    "preset": "named set of values for all that follows; `nst presets` prints them",
    "content_weight": "factor on all content terms",
    "style_weight": "factor on all style terms",
    "tv_weight": "factor on total variation, which smooths; 0 leaves it out",
    "content_loss": "form of the content terms",
    "style_loss": "form of the style terms",
    "content_scale": "value of the SCALAR layers before content losses",
    "gram_normalize": "what Gram matrices are divided by: channels, height, width",
    "gram_scale": "factor on Gram matrices",
    "gate": "which gradients pass the EVENT layers",
    "exact_gradient": "off: MyCaffe's gradients, which leave the scales out",
    "pooling": "replaces the net's pooling",
}
RESULT = {
    "size": "longest side of the picture in pixels; one size, whatever the file or preset plans",
    "sizes": "coarse to fine: longest sides, small first, as in 128,256,512",
    "output": "the picture to write: png, jpg, tiff or webp",
    "save_every": "iterations between intermediate pictures; 0 writes none",
    "average_iterates": "the result is the mean of the last N iterates; 0 takes the last",
    "clamp": "keep every pixel inside what a picture can show",
}
SOLVER = {
    "type": "update rule: LBFGS, Adam, SGD, Nesterov, AdaGrad, RMSProp or AdaDelta",
    "base_lr": "learning rate; for LBFGS the first step length",
    "lr_policy": "how the rate changes: fixed, step, exp, inv, multistep, poly or sigmoid",
    "gamma": "factor or steepness of the policy",
    "power": "exponent of the policy",
    "stepsize": "iterations between drops of the policies step and sigmoid",
    "stepvalue": "iterations at which the policy multistep drops the rate",
    "momentum": "share of the last step; Adam's beta1, AdaDelta's decay",
    "momentum2": "Adam's beta2",
    "rms_decay": "share of the past in RMSProp's mean square",
    "delta": "keeps divisors from zero in Adam, AdaGrad, RMSProp, AdaDelta",
    "clip_gradients": "largest L2 norm of the gradient; below 0 is no limit",
    "lbfgs_corrections": "pairs of vectors that LBFGS remembers",
    "line_search": "how LBFGS finds its step lengths",
    "average_loss": "iterations over which the logged loss is averaged",
    "display": "iterations between lines of progress when output is not a terminal; 0 is silent",
}
_STYLE_FIELDS: Mapping[str, Any] = StyleTransferParameter.DESCRIPTOR.fields_by_name
_START: Any = InitialImage.DESCRIPTOR.fields_by_name["from"]
_SOLVER_FIELDS: Mapping[str, Any] = SolverParameter.DESCRIPTOR.fields_by_name


def add_style_flags(parser: argparse.ArgumentParser) -> None:
    """Adds every flag that sets something of a style run."""
    pictures = parser.add_argument_group("pictures")
    pictures.add_argument("--content", metavar="FILE", help="the picture to paint")
    pictures.add_argument(
        "--style",
        metavar="FILE[:WEIGHT]",
        type=picture_with_weight,
        action="append",
        help="the picture whose manner it takes on; may be given several times",
    )
    pictures.add_argument(
        "--style-scale",
        metavar="FACTOR[,...]",
        type=numbers(float),
        help="size of the style picture relative to the result's, one for all or one each",
    )
    _add_switch(
        pictures, "style-stretch", "squeeze the style into the content's shape, as MyCaffe does"
    )
    _add_fields(pictures, RESULT)
    _add_start_flags(parser.add_argument_group("start"))
    _add_model_flags(parser.add_argument_group("model"))

    objective = parser.add_argument_group("objective")
    for role in ("content", "style"):
        objective.add_argument(
            f"--{role}-layers",
            metavar="NAME[:WEIGHT],...",
            type=layers,
            help=f"layers or blobs where the {role} is compared, and their shares",
        )
    _add_fields(objective, OBJECTIVE)
    objective.add_argument(
        "--tv-beta",
        type=float,
        metavar="X",
        help="exponent of total variation: 2 smooth, 1 keeps edges",
    )
    objective.add_argument(
        "--tv-epsilon", type=float, metavar="X", help="added under that exponent's root"
    )
    _add_solver_flags(parser.add_argument_group("solver"))


def to_message(args: argparse.Namespace) -> SolverParameter:
    """What the flags set, and nothing else. Taps and scale of styles: see `apply_to_styles`."""
    settings = SolverParameter()
    style = settings.style_transfer_param
    for name in (*OBJECTIVE, *RESULT, *SOLVER):
        value = getattr(args, name)
        holder = style if name in _STYLE_FIELDS else settings
        if isinstance(value, list):
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
    for name in ("beta", "epsilon"):
        if getattr(args, f"tv_{name}") is not None:
            setattr(style.tv_loss_param, name, getattr(args, f"tv_{name}"))
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
            _addlayers(term.layer, args.style_layers)
        if scales:
            term.scale = scales[number] if len(scales) > 1 else scales[0]
        if args.style_stretch is not None:
            term.stretch = args.style_stretch


# ---- the groups ------------------------------------------------------------------------------------------


def _add_start_flags(group: argparse._ArgumentGroup) -> None:
    kinds = [value.name.lower() for value in _START.enum_type.values]
    group.add_argument(
        "--init",
        metavar="{" + ",".join(kinds) + "}",
        type=enum(_START),
        help="what the painting starts from",
    )
    group.add_argument(
        "--init-image", metavar="FILE", help="start from this picture (implies --init image)"
    )
    group.add_argument(
        "--blend", type=float, metavar="X", help="share of the content mixed into the start, 0 to 1"
    )
    group.add_argument(
        "--noise-std", type=float, metavar="X", help="spread of the noise in pixel values, 0 to 255"
    )


def _add_model_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--net", metavar="FILE", help="the feature network, a Caffe net.prototxt")
    group.add_argument(
        "--weights",
        metavar="FILE|NAME[,...]",
        type=lambda text: [name for name in text.split(",") if name],
        help="a caffemodel or HDF5 file, or the name of a known model",
    )
    group.add_argument(
        "--mean",
        metavar="B,G,R",
        type=numbers(float),
        help="mean that the model expects subtracted",
    )
    group.add_argument(
        "--input-scale", type=float, metavar="X", help="factor on pixels after the mean"
    )
    _add_field(group, _STYLE_FIELDS["color_order"], "order of the model's channels, and of --mean")


def _add_solver_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--iterations",
        "--max-iter",
        metavar="N[,...]",
        type=numbers(int),
        help="how many to make; with --sizes one for all or one per size",
    )
    _add_fields(group, SOLVER)
    group.add_argument(
        "--seed",
        "--random-seed",
        type=int,
        metavar="N",
        help="of all drawing; runs with the same seed start from the same picture",
    )


def _add_fields(group: argparse._ArgumentGroup, names: dict[str, str]) -> None:
    for name, text in names.items():
        _add_field(group, _STYLE_FIELDS.get(name) or _SOLVER_FIELDS[name], text)


def _add_field(group: argparse._ArgumentGroup, field: FieldDescriptor, text: str) -> None:
    flag = field.name.replace("_", "-")
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        _add_switch(group, flag, text)
    elif field.enum_type is not None:
        names = [value.name.lower() for value in field.enum_type.values]
        group.add_argument(
            f"--{flag}", type=enum(field), metavar="{" + ",".join(names) + "}", help=text
        )
    elif kind == FieldDescriptor.CPPTYPE_STRING:
        group.add_argument(f"--{flag}", metavar="FILE" if flag == "output" else "NAME", help=text)
    else:
        is_whole = kind not in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
        number = whole(field) if is_whole else float
        metavar = "N" if is_whole else "X"
        if isinstance(
            field.default_value, list
        ):  # `label` warns on protobuf 7, `is_repeated` is not in 5
            group.add_argument(
                f"--{flag}", type=numbers(number), metavar=f"{metavar}[,...]", help=text
            )
        else:
            group.add_argument(f"--{flag}", type=number, metavar=metavar, help=text)


def _add_switch(group: argparse._ArgumentGroup, flag: str, text: str) -> None:
    group.add_argument(f"--{flag}", action=argparse.BooleanOptionalAction, help=text)


# ---- filling the message ----------------------------------------------------------------------------------


def _set_pictures(style: StyleTransferParameter, args: argparse.Namespace) -> None:
    if args.content is not None:
        style.content.image = args.content
    _addlayers(style.content.layer, args.content_layers or [])
    for given in args.style or []:
        term = style.style.add(image=given.name)
        if given.weight is not None:
            term.weight = given.weight
    if args.init is not None:
        setattr(style.init, "from", args.init)
    if args.init_image is not None:
        style.init.image = args.init_image
        setattr(style.init, "from", InitialImage.IMAGE)
    for name in ("blend", "noise_std"):
        if getattr(args, name) is not None:
            setattr(style.init, name, getattr(args, name))
    if not args.content and not args.content_layers:
        style.ClearField("content")


def _set_preprocessing(style: StyleTransferParameter, args: argparse.Namespace) -> None:
    if args.mean:
        style.transform_param.mean_value.extend(args.mean)
    if args.input_scale is not None:
        style.transform_param.scale = args.input_scale
    if args.color_order is not None:
        style.color_order = args.color_order


def _addlayers(target: Any, layers: list[WeightedName]) -> None:
    for given in layers:
        layer = target.add(name=given.name)
        if given.weight is not None:
            layer.weight = given.weight
