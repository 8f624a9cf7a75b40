"""StyleJob: everything a run needs, loaded and checked before the first number is computed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend import Backend
from nst.errors import UsageError
from nst.io.images import Picture, read_picture
from nst.io.known_models import KnownModel, find_weights, known_models, locate_models
from nst.io.picture_transform import PictureTransform
from nst.io.prototxt import read_net
from nst.io.recipe import FileRecord
from nst.io.weights import read_weights
from nst.net import StoredWeights
from nst.proto import NetParameter, SolverParameter, StyleTransferParameter
from nst.style import augment
from nst.style.colour import is_matched_before, match_colours
from nst.style.objective import Objective
from nst.style.objective_settings import read_objective, read_taps
from nst.style.presets import find_preset
from nst.style.schedule import Stage, read_schedule
from nst.style.statistics import statistic_blob
from nst.style.temporal import TemporalTarget

log = logging.getLogger("nst.style")

PictureSource = str | Path | NDArray[Any]
"""A picture file, or an array (H, W, 3) of RGB values 0 to 255."""


@dataclass(frozen=True)
class StyleSource:
    """One style picture with its share, its size relative to the result, and its own tap weights."""

    picture: Picture
    weight: float
    scale: float
    stretch: bool
    tap_weights: dict[str, float]


@dataclass(frozen=True)
class StyleJob:
    """A checked run: pictures and weights are in memory, the objective fits the net."""

    settings: SolverParameter
    net: NetParameter
    weights: StoredWeights
    backend: Backend
    objective: Objective
    transform: PictureTransform
    content: Picture | None
    styles: tuple[StyleSource, ...]
    start: Picture | None
    stages: tuple[Stage, ...]
    seed: int
    output: Path | None
    temporal: tuple[TemporalTarget, ...] = ()
    """Of a frame of a video: the earlier frames that it is held to."""
    files: dict[str, FileRecord] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What the user should know before the run: settings made for another model, and the like."""

    @property
    def style_param(self) -> StyleTransferParameter:
        return self.settings.style_transfer_param


def load_job(
    settings: SolverParameter,
    backend: Backend,
    *,
    content: PictureSource | None = None,
    styles: Sequence[PictureSource] = (),
    net: NetParameter | None = None,
    weights: StoredWeights | None = None,
) -> StyleJob:
    """Loads what the settings name and checks it all.

    Paths in `settings` are taken as they are (see `anchored`); the keyword arguments replace what the
    settings name, with arrays or messages. Raises NstError of the kind that fits, in one line.
    """
    param = settings.style_transfer_param
    files: dict[str, FileRecord] = {}
    net = net or load_net(settings, files)
    model = _known_model(settings, net)
    objective = read_objective(param, net)
    content_picture = _content(param, content, files)
    style_sources = _styles(param, styles, net, files)
    if param.color != StyleTransferParameter.STYLE:
        style_sources = _coloured(style_sources, content_picture, param.color)
    if objective.style and not style_sources:
        raise UsageError("style: no picture given (expected style { image: ... } or --style)")
    if objective.content and content_picture is None:
        raise UsageError("content: no picture given (expected content { image: ... } or --content)")
    shape_giver = content_picture or style_sources[0].picture
    job = StyleJob(
        settings=settings,
        net=net,
        weights=weights if weights is not None else _load_weights(settings, net, objective, files),
        backend=backend,
        objective=objective,
        transform=_transform(param, model),
        content=content_picture,
        styles=style_sources,
        start=_picture(param.init.image, "init", files) if param.init.image else None,
        stages=read_schedule(settings, max(shape_giver.rgb.shape[:2])),
        seed=settings.random_seed if settings.random_seed >= 0 else 0,
        output=Path(param.output) if param.output else None,
        files=files,
        notes=_notes(param, net, model),
    )
    for note in job.notes:
        log.warning(note)
    return job


def anchored(settings: SolverParameter, folder: Path) -> SolverParameter:
    """Returns the settings with every path made relative to `folder`: the file that names them.

    Names of known models and their weights stay names.
    """
    result = SolverParameter()
    result.CopyFrom(settings)
    style = result.style_transfer_param
    holders: list[tuple[Any, str]] = [(result, "net"), (result, "snapshot_prefix")]
    if settings.HasField("style_transfer_param"):
        holders += [(style, "output")]
        holders += [(style.content, "image")] if style.HasField("content") else []
        holders += [(style.init, "image")] if style.HasField("init") else []
        holders += [(term, "image") for term in style.style]
        holders += (
            [(style.video, "frames"), (style.video, "flow_files")]
            if style.HasField("video")
            else []
        )
    for message, name in holders:
        if getattr(message, name):
            setattr(message, name, str(folder / Path(getattr(message, name)).expanduser()))
    models = known_models()
    for index, value in enumerate(result.weights):
        if value not in models:
            local = folder / Path(value).expanduser()
            result.weights[index] = str(local) if local.exists() else value
    return result


# ---- one thing each ---------------------------------------------------------------------------


def load_net(settings: SolverParameter, files: dict[str, FileRecord]) -> NetParameter:
    if settings.HasField("net_param"):
        return settings.net_param
    path = Path(settings.net) if settings.net else _net_of_known_weights(settings)
    net = read_net(path)
    files["net"] = FileRecord.of(path)
    return net


def _net_of_known_weights(settings: SolverParameter) -> Path:
    models = known_models()
    for name in settings.weights:
        if name in models:
            return locate_models() / name / (models[name].net or "net.prototxt")
    raise UsageError("net: none given (expected net: ... in the solver file, or --net)")


def _load_weights(
    settings: SolverParameter, net: NetParameter, objective: Objective, files: dict[str, FileRecord]
) -> StoredWeights:
    """Only the layers that the run uses are taken out of the files."""
    names = [name for entry in settings.weights for name in entry.split(",") if name]
    if not names:
        raise UsageError(
            "weights: none given (expected weights: ... in the solver file, or --weights)"
        )
    wanted = {layer.name for layer in augment.for_extraction(net, objective).layer}
    weights: dict[str, Any] = {}
    for number, name in enumerate(names):
        path = find_weights(name, Path(settings.net).parent if settings.net else Path())
        weights.update(read_weights(path, wanted))
        files["weights" if not number else f"weights {number + 1}"] = FileRecord.of(path)
    return weights


def _known_model(settings: SolverParameter, net: NetParameter) -> KnownModel | None:
    """The known model that the weights belong to, by name or by the name of the file or net."""
    models = known_models()
    names = {net.name, *settings.weights, *(Path(entry).name for entry in settings.weights)}
    return next((m for m in models.values() if m.name in names or m.file in names), None)


def _transform(param: StyleTransferParameter, model: KnownModel | None) -> PictureTransform:
    """As the settings say, else the model's own, else VGG's."""
    base = model.transform if model else PictureTransform()
    if not param.HasField("transform_param") and not param.HasField("color_order"):
        return base
    given = param.transform_param
    mean = tuple(given.mean_value) or base.mean
    if len(mean) == 1:
        mean = mean * 3
    return PictureTransform(
        mean=mean,  # type: ignore[arg-type]  # checked by PictureTransform
        color_order=StyleTransferParameter.ColorOrder.Name(param.color_order),
        scale=given.scale if given.HasField("scale") else 1.0,
    )


def _content(
    param: StyleTransferParameter, given: PictureSource | None, files: dict[str, FileRecord]
) -> Picture | None:
    if given is not None:
        return _picture(given, "content", files)
    return _picture(param.content.image, "content", files) if param.content.image else None


def _styles(
    param: StyleTransferParameter,
    given: Sequence[PictureSource],
    net: NetParameter,
    files: dict[str, FileRecord],
) -> tuple[StyleSource, ...]:
    terms = list(param.style)
    sources: list[PictureSource] = [term.image for term in terms if term.image]
    if len(given):
        sources = list(given)
        terms = [terms[min(i, len(terms) - 1)] for i in range(len(sources))] if terms else []
    found = []
    for number, source in enumerate(sources):
        term = terms[number] if terms else StyleTransferParameter().style.add()
        if term.weight < 0 or term.scale <= 0:
            raise UsageError(
                f"style: weight must be >= 0 and scale > 0 (got {term.weight}, {term.scale})"
            )
        name = "style" if not number else f"style {number + 1}"
        taps = {statistic_blob(tap): tap.weight for tap in read_taps(term.layer, net, param)}
        picture = _picture(source, name, files)
        found.append(StyleSource(picture, term.weight, term.scale, term.stretch, taps))
    if found and not sum(style.weight for style in found):
        raise UsageError("style: all weights are 0 (expected at least one above)")
    return tuple(found)


def _coloured(
    styles: tuple[StyleSource, ...], content: Picture | None, how: int
) -> tuple[StyleSource, ...]:
    """The styles in the colours of the content, where `color` asks for that before the run."""
    if content is None:
        raise UsageError("color: nothing to take the colours from (got no content picture)")
    if not is_matched_before(how):
        return styles
    return tuple(
        replace(
            style,
            picture=replace(style.picture, rgb=match_colours(style.picture.rgb, content.rgb, how)),
        )
        for style in styles
    )


def _picture(source: PictureSource, role: str, files: dict[str, FileRecord]) -> Picture:
    if isinstance(source, str | Path):
        picture = read_picture(source)
        files[role] = FileRecord(Path(source).name, picture.sha256)
        for note in picture.notes:
            log.info("%s picture: %s", role, note)
        return picture
    return Picture.from_array(np.asarray(source))


def _notes(
    param: StyleTransferParameter, net: NetParameter, model: KnownModel | None
) -> tuple[str, ...]:
    notes = []
    bound_to = find_preset(param.preset).bound_to if param.preset else ()
    name = model.name if model else net.name
    if bound_to and name not in bound_to:
        notes.append(
            f"the weights of preset '{param.preset}' were set for {', '.join(bound_to)}; this net is "
            f"'{name}', so content and style may be out of balance"
        )
    if model is None and not param.HasField("transform_param"):
        notes.append(
            "the model's preprocessing is not stated: using B, G, R minus VGG's mean "
            "(transform_param { mean_value: ... } states it)"
        )
    return tuple(notes)
