"""StyleJob: everything a run needs, loaded and checked before the first number is computed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nst.backend import Backend
from nst.errors import UsageError
from nst.io.images import Picture
from nst.io.known_models import KnownModel, find_weights, known_models, locate_models
from nst.io.picture_transform import PictureTransform
from nst.io.prototxt import read_net
from nst.io.recipe import FileRecord
from nst.io.resample import fit_longest_side
from nst.io.weights import read_weights
from nst.net import StoredWeights
from nst.proto import NetParameter, SolverParameter, StyleTransferParameter
from nst.style import augment
from nst.style.job_pictures import (
    Files,
    PictureSource,
    StyleSource,
    read_pictures,
    read_source,
    with_all_regions,
)
from nst.style.modes import with_present_terms, with_start
from nst.style.objective import Objective
from nst.style.objective_settings import read_objective
from nst.style.presets import find_preset
from nst.style.regions import Regions, weighed
from nst.style.schedule import Stage, read_schedule
from nst.style.settings import at_precision
from nst.style.statistics import check_features
from nst.style.temporal import TemporalTarget

log = logging.getLogger("nst.style")


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
    regions: Regions = field(default_factory=Regions)
    """All masks, at a size of their own."""
    aspect: tuple[int, int] | None = None
    """Height and width, in any unit, of a result without content; None: those of the first style."""
    files: dict[str, FileRecord] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What the user should know before the run: settings made for another model, and the like."""

    @property
    def style_param(self) -> StyleTransferParameter:
        return self.settings.style_transfer_param

    def shape_at(self, size: int) -> tuple[int, int]:
        """Height and width of the result whose longer side is `size`."""
        if self.content is not None or self.aspect is None:
            shape = (self.content or self.styles[0].picture).rgb.shape
            return fit_longest_side((shape[0], shape[1]), size, enlarge=True)
        return fit_longest_side(self.aspect, size, enlarge=True)


def load_job(
    settings: SolverParameter,
    backend: Backend,
    *,
    content: PictureSource | None = None,
    styles: Sequence[PictureSource] = (),
    net: NetParameter | None = None,
    weights: StoredWeights | None = None,
    masks: Mapping[str, NDArray[Any]] | None = None,
) -> StyleJob:
    """Loads what the settings name and checks it all.

    Paths in `settings` are taken as they are (see `anchored`); the keyword arguments replace what the
    settings name, with arrays or messages; `masks` are arrays in the place of mask files, by the names that
    the settings have for them. Raises NstError of the kind that fits, in one line.
    """
    settings = with_all_regions(settings)
    param = settings.style_transfer_param
    files: Files = {}
    net = net or load_net(settings, files)
    model = _known_model(settings, net)
    pictures = read_pictures(param, net, files, content=content, styles=styles, masks=masks or {})
    objective = with_present_terms(read_objective(param, net), pictures)
    objective = weighed(objective, pictures.regions)
    check_features(objective.style, pictures.styles)
    job = StyleJob(
        settings=with_start(settings, pictures),
        net=net,
        weights=weights if weights is not None else _load_weights(settings, net, objective, files),
        backend=at_precision(backend, param),
        objective=objective,
        transform=_transform(param, model),
        content=pictures.content,
        styles=pictures.styles,
        start=read_source(param.init.image, "init", files) if param.init.image else None,
        stages=read_schedule(settings, max(pictures.shape)),
        seed=settings.random_seed if settings.random_seed >= 0 else 0,
        output=Path(param.output) if param.output else None,
        regions=pictures.regions,
        aspect=None if pictures.content is not None else pictures.shape,
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
        holders += picture_fields(style)
        if style.HasField("video"):
            holders += [(style.video, "frames"), (style.video, "flow_files")]
    for message, name in holders:
        if getattr(message, name):
            setattr(message, name, str(folder / Path(getattr(message, name)).expanduser()))
    models = known_models()
    for index, value in enumerate(result.weights):
        if value not in models:
            local = folder / Path(value).expanduser()
            result.weights[index] = str(local) if local.exists() else value
    return result


def picture_fields(style: StyleTransferParameter) -> list[tuple[Any, str]]:
    """Message and name of every field that names a picture or mask, of the terms that are there."""
    fields: list[tuple[Any, str]] = [(style, "keep_mask")]
    if style.HasField("content"):
        fields += [(style.content, name) for name in ("image", "mask")]
    if style.HasField("init"):
        fields += [(style.init, "image")]
    fields += [(term, name) for term in style.style for name in ("image", "mask", "style_mask")]
    return fields


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
