"""The flags of a style run, one per field of the style block and of the solver.

Plain fields get type, choices and name from the message itself (`tv_weight` -> `--tv-weight`), and
their help from `flag_help`. Fields that hold messages (content, style, init) are spread over several
flags. What the flags set: `style_message`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from nst.cli.flag_help import (
    RESULT,
    SOLVER,
    TOTAL_VARIATION,
    VIDEO,
    objective_fields,
    video_field,
)
from nst.cli.flag_values import OfTheStyle, enum, layers, numbers, picture_with_weight, size, whole
from nst.proto import (
    InitialImage,
    SolverParameter,
    StyleTransferParameter,
    TVLossParameter,
    VideoParameter,
)

_STYLE_FIELDS: Mapping[str, Any] = StyleTransferParameter.DESCRIPTOR.fields_by_name
_START: Any = InitialImage.DESCRIPTOR.fields_by_name["from"]
_SOLVER_FIELDS: Mapping[str, Any] = SolverParameter.DESCRIPTOR.fields_by_name

_PATHS = {"output": "FILE", "frames": "FOLDER|PATTERN|FILE", "flow-files": "FOLDER"}
"""Flags of text that name files -> how --help shows their value."""


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
    _add_mask_flags(pictures)
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
    pictures.add_argument(
        "--tileable",
        action="store_true",
        help="go round the picture's edges, so that copies of it fit together; for textures",
    )
    _add_start_flags(parser.add_argument_group("start"))
    _add_model_flags(parser.add_argument_group("model"))

    objective = parser.add_argument_group("objective")
    for role in ("content", "style"):
        objective.add_argument(
            f"--{role}-layers",
            metavar="NAME[:WEIGHT],..." if role == "content" else "NAME[:WEIGHT[:STATISTIC]],...",
            type=layers,
            help=f"layers or blobs where the {role} is compared, and their shares",
        )
    _add_fields(objective, objective_fields())
    for name, text in TOTAL_VARIATION.items():
        _add_field(objective, TVLossParameter.DESCRIPTOR.fields_by_name[name], text, prefix="tv-")
    _add_solver_flags(parser.add_argument_group("solver"))


def add_video_flags(group: argparse._ArgumentGroup) -> None:
    """Adds the flags of a run over many frames."""
    for name, text in VIDEO.items():
        field = VideoParameter.DESCRIPTOR.fields_by_name[video_field(name)]
        _add_field(group, field, text, flag=name.replace("_", "-"))


# ---- the groups ------------------------------------------------------------------------------------------


def _add_mask_flags(pictures: argparse._ArgumentGroup) -> None:
    for flag, metavar, text in (
        (
            "mask",
            "FILE",
            "where the --style before it is: grey, white inside; others have the rest",
        ),
        ("style-mask", "FILE", "what of the --style before it counts: grey, white inside"),
        (
            "region",
            "COLOUR|NUMBER|all",
            "masks of the --style before it are label maps, and this is its label there; all: every one",
        ),
    ):
        pictures.add_argument(f"--{flag}", metavar=metavar, action=OfTheStyle, help=text)
    pictures.add_argument(
        "--keep-mask", metavar="FILE", help="white where the content is left as it is"
    )
    pictures.add_argument(
        "--content-mask", metavar="FILE", help="how much the content counts: white fully, black not"
    )


def _add_start_flags(group: argparse._ArgumentGroup) -> None:
    kinds = ",".join(value.name.lower() for value in _START.enum_type.values)
    group.add_argument(
        "--init", metavar=f"{{{kinds}}}", type=enum(_START), help="what the painting starts from"
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
        type=numbers(whole(_STYLE_FIELDS["iterations"])),
        help="how many to make; with --sizes one for all or one per size",
    )
    _add_fields(group, SOLVER)
    group.add_argument(
        "--seed",
        "--random-seed",
        type=whole(_SOLVER_FIELDS["random_seed"]),
        metavar="N",
        help="of all drawing; runs with the same seed start from the same picture",
    )


def _add_fields(group: argparse._ArgumentGroup, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        _add_field(group, _STYLE_FIELDS.get(name) or _SOLVER_FIELDS[name], text)


def _add_field(
    group: argparse._ArgumentGroup, field: Any, text: str, *, prefix: str = "", flag: str = ""
) -> None:
    flag = flag or prefix + field.name.replace("_", "-")
    kind = field.cpp_type
    read: Callable[[str], Any]
    if flag == "size":
        group.add_argument("--size", type=size, metavar="N|WxH", help=text)
        return
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        _add_switch(group, flag, text)
        return
    if field.enum_type is not None:
        words = ",".join(value.name.lower() for value in field.enum_type.values)
        metavar, read = f"{{{words}}}", enum(field)
    elif kind == FieldDescriptor.CPPTYPE_STRING:
        metavar, read = _PATHS.get(flag, "NAME"), str
    elif kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        metavar, read = "X", float
    else:
        metavar, read = "N", whole(field)
    # Not field.label, which warns on protobuf 7, nor field.is_repeated, which is not in 5.
    if isinstance(field.default_value, list):
        metavar, read = f"{metavar}[,...]", numbers(read)
    group.add_argument(f"--{flag}", type=read, metavar=metavar, help=text)


def _add_switch(group: argparse._ArgumentGroup, flag: str, text: str) -> None:
    group.add_argument(f"--{flag}", action=argparse.BooleanOptionalAction, help=text)
