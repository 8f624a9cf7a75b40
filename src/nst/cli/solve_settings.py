"""From flags to the settings of a run: which solver file is the base, what overrides what, where it goes."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from nst.cli.style_message import apply_to_styles, to_message
from nst.errors import UsageError, did_you_mean
from nst.io.known_models import known_models, locate_models
from nst.io.prototxt import read_solver
from nst.proto import SolverParameter
from nst.style.job import anchored, picture_fields
from nst.style.presets import DEFAULT_PRESET
from nst.style.settings import with_preset, without_examples

DEFAULT_MODEL = "quickstart"
"""Whose solver file is the base when neither a file nor a model is named."""


def read_settings(args: argparse.Namespace) -> SolverParameter:
    """Flags over solver file over preset, every path relative to the working folder.

    Raises NstError. The output is set: as named, else a free name made of those of the pictures.
    """
    if args.size is not None and args.sizes:
        raise UsageError(
            f"--size: one size or --sizes, not both (got {args.size} and {args.sizes})"
        )
    base, is_users = _base(args)
    if not is_users:
        has_content = bool(args.content or getattr(args, "frames", None))
        base = without_examples(base, has_content=has_content, has_style=bool(args.style))
    flags = anchored(to_message(args), Path())
    settings = with_preset(base, flags)
    apply_to_styles(settings, args)
    style = settings.style_transfer_param
    if style.video.frames:
        _take_frames(settings, base, is_users)
        return settings
    named = bool(args.output) or (is_users and bool(style.output))
    if args.resume is not None and not named:
        style.output = str(args.resume.with_suffix(".png"))
        named = True
    style.output = str(_output(settings, named=named, overwrite=args.overwrite))
    _refuse_to_eat_inputs(settings)
    return settings


def _base(args: argparse.Namespace) -> tuple[SolverParameter, bool]:
    """The solver file under the flags, and whether it is the user's own."""
    if args.solver is not None:
        if args.model is not None:
            raise UsageError(
                f"--model: not with a solver file, which names its own net (got {args.model!r} "
                f"and {args.solver})"
            )
        path = Path(args.solver)
        return anchored(read_solver(path), path.parent), True
    name = args.model or _model_of_weights(args.weights or [])
    if name is None and (args.net or args.weights):
        preset = SolverParameter()
        preset.style_transfer_param.preset = DEFAULT_PRESET
        return preset, False
    path = _solver_of_model(name or DEFAULT_MODEL)
    settings = anchored(read_solver(path), path.parent)
    settings.style_transfer_param.ClearField("output")
    return settings, False


def _model_of_weights(weights: list[str]) -> str | None:
    """The known model that `--weights NAME` asks for, if it has a solver file."""
    known = known_models()
    return next((name for name in weights if name in known and _has_solver(name)), None)


def _has_solver(name: str) -> bool:
    return (locate_models() / name / "solver.prototxt").is_file()


def _solver_of_model(name: str) -> Path:
    models = [model for model in known_models() if _has_solver(model)]
    if name not in models:
        raise UsageError(
            f"--model: no such model with a solver file (got {name!r}, known: "
            f"{', '.join(models) or 'none'}).{did_you_mean(name, models)}"
        )
    return locate_models() / name / "solver.prototxt"


def _take_frames(settings: SolverParameter, base: SolverParameter, is_users: bool) -> None:
    """Frames stand in for the content picture; without a name the output is a folder made of theirs."""
    style, below = settings.style_transfer_param, base.style_transfer_param
    if is_users and below.video.frames and below.content.image:
        raise UsageError(
            f"video: frames or a content picture, not both (got {below.video.frames} and "
            f"{below.content.image})"
        )
    style.content.ClearField("image")
    if not style.output:
        frames = Path(style.video.frames)
        names = [frames.stem or frames.name, *(Path(term.image).stem for term in style.style)]
        style.output = "_".join(filter(None, names)).replace("*", "").replace("?", "")


# ---- where the picture goes ------------------------------------------------------------------------------


def _output(settings: SolverParameter, *, named: bool, overwrite: bool | None) -> Path:
    """A named picture is replaced unless --no-overwrite; a name made here never takes an existing one."""
    style = settings.style_transfer_param
    if named:
        path = Path(style.output)
        if overwrite is False and path.exists():
            raise UsageError(f"{path}: exists already (--no-overwrite). Name another --output")
        return path
    path = Path(f"{_stem(settings)}.png")
    if overwrite:
        return path
    number = 2
    while path.exists():
        path = Path(f"{_stem(settings)}_{number}.png")
        number += 1
    return path


def _stem(settings: SolverParameter) -> str:
    style = settings.style_transfer_param
    styles = [term.image for term in style.style if term.image]
    names = [Path(picture).stem for picture in (style.content.image, *styles) if picture]
    if names and not (style.content.image and styles):
        names.append("reconstructed" if style.content.image else "texture")
    return "_".join(names) or "picture"


def _refuse_to_eat_inputs(settings: SolverParameter) -> None:
    style = settings.style_transfer_param
    output = Path(style.output)
    inputs = [getattr(message, name) for message, name in picture_fields(style)]
    for picture in filter(None, inputs):
        with contextlib.suppress(OSError):
            if output.samefile(picture):
                raise UsageError(f"--output: {output} is one of the pictures that go in")
