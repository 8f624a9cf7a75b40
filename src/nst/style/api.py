"""`nst.style_transfer(...)`: one call from Python, with the fields of the solver file as keywords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from nst.backend import Backend, get_backend
from nst.errors import UsageError, did_you_mean
from nst.io.images import as_array
from nst.io.known_models import known_models, locate_models
from nst.io.prototxt import read_solver
from nst.net import StoredWeights
from nst.proto import NetParameter, SolverParameter, StyleTransferParameter
from nst.style.job import anchored, load_job
from nst.style.job_pictures import PictureSource
from nst.style.presets import DEFAULT_PRESET
from nst.style.run import Observer, StyleResult, run_job
from nst.style.settings import with_preset, without_examples

DEFAULT_MODEL = "quickstart"
"""The model that comes with its weights: what a run uses when no net is named."""

MaskSource = str | Path | NDArray[Any]
"""A grey picture file, or an array (H, W): truth values, floats 0 to 1, or bytes."""

Taps = str | Mapping[str, float] | Sequence[str]
"""One layer name, several, or layer name -> weight."""


def style_transfer(
    content: PictureSource | None = None,
    style: PictureSource | Sequence[PictureSource] | None = None,
    *,
    net: str | PathLike[str] | NetParameter | None = None,
    weights: str | PathLike[str] | StoredWeights | None = None,
    solver: str | PathLike[str] | None = None,
    backend: str | Backend = "auto",
    threads: int | None = None,
    callback: Observer | None = None,
    content_layers: Taps = (),
    style_layers: Taps = (),
    style_weights: Sequence[float] = (),
    masks: Sequence[MaskSource | None] = (),
    style_masks: Sequence[MaskSource | None] = (),
    content_mask: MaskSource | None = None,
    keep_mask: MaskSource | None = None,
    **options: Any,
) -> StyleResult:
    """Paints `content` in the manner of `style`; a style alone makes a texture, a content alone is
    reconstructed from its features.

        result = nst.style_transfer("a.jpg", "b.jpg", size=512, max_iter=200)
        PIL.Image.fromarray(result.image).save("out.png")

    Args:
        content: picture file, Pillow picture, or RGB array (H, W, 3), 0 to 255.
        style: one picture or several. Without a solver file and without both, the pictures of quickstart.
        net: prototxt, message, or the name of a known model; by default the embedded quickstart.
        weights: file, name of a known model, or mapping of layer name to arrays.
        solver: a solver file whose settings the other arguments override.
        backend, threads: where to compute.
        callback: called as callback(progress, run) after every iteration; run.stop() ends it.
        content_layers, style_layers: taps by name, with weights if a mapping.
        style_weights: share of each style picture.
        masks: per style where in the result it is: a grey picture file, or an array (H, W) of truth
            values, of floats 0 to 1 or of bytes; None: the rest. What no style covers stays as it is.
        style_masks: per style what of its picture counts.
        content_mask, keep_mask: how much the content counts; where it is left as it is.
        options: any field of StyleTransferParameter or SolverParameter (size, max_iter, preset,
            style_weight, tv_weight, init="NOISE", type="Adam", random_seed, ...).

    Returns the picture (`.image` uint8, `.pixels` float32), its `.history` and `.stop_reason`.
    Raises NstError of the kind that fits, before anything is computed where possible.
    """
    _check_model(net, weights)
    flags = _settings(options)
    styles = [_opened(each) for each in _as_list(style)]
    _add_taps(flags.style_transfer_param.content, content_layers)
    _add_styles(flags, len(styles), style_layers, style_weights, masks or style_masks)
    arrays = _add_masks(flags.style_transfer_param, masks, style_masks, content_mask, keep_mask)
    if isinstance(net, str | PathLike):
        _name_net(flags, str(net))
    if isinstance(weights, str | PathLike):
        flags.weights.append(str(weights))
    base = _base(solver, flags, own_net=net is not None)
    if solver is None:
        base = without_examples(base, has_content=content is not None, has_style=bool(styles))
    settings = with_preset(base, flags)
    if settings.style_transfer_param.video.frames:
        raise UsageError(
            "style_transfer: one picture (got video.frames). nst.style.video paints many"
        )
    job = load_job(
        settings,
        get_backend(backend, threads=threads) if isinstance(backend, str) else backend,
        content=None if content is None else _opened(content),
        styles=styles,
        net=net if isinstance(net, NetParameter) else None,
        weights=weights if isinstance(weights, Mapping) else None,
        masks=arrays,
    )
    return run_job(job, *([callback] if callback else []))


def _base(
    solver: str | PathLike[str] | None, flags: SolverParameter, *, own_net: bool
) -> SolverParameter:
    """The solver file underneath: the one named, the default preset for a net of the user's own,
    or quickstart's."""
    if solver is None and own_net:
        settings = SolverParameter()
        settings.style_transfer_param.preset = DEFAULT_PRESET
        return settings
    path = Path(solver) if solver else locate_models() / DEFAULT_MODEL / "solver.prototxt"
    base = anchored(read_solver(path), path.parent)
    if flags.weights:
        del base.weights[:]
    return base


def _name_net(flags: SolverParameter, name: str) -> None:
    """A known model's name stands for its description and, unless others are named, its weights."""
    models = known_models()
    if name in models:
        flags.net = str(locate_models() / name / (models[name].net or "net.prototxt"))
        flags.weights.append(name)
    else:
        flags.net = name


def _settings(options: Mapping[str, Any]) -> SolverParameter:
    """Keywords as a message; raises UsageError for one that no field has."""
    settings = SolverParameter()
    style = settings.style_transfer_param
    for name, value in options.items():
        owner: Message = settings
        if name in style.DESCRIPTOR.fields_by_name:
            owner = style
        elif name not in settings.DESCRIPTOR.fields_by_name:
            known = [*style.DESCRIPTOR.fields_by_name, *settings.DESCRIPTOR.fields_by_name]
            raise UsageError(f"style_transfer: no option {name!r}.{did_you_mean(name, known)}")
        try:
            _set(owner, name, value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"style_transfer: {name}: {error} (got {value!r})") from error
    return settings


def _set(owner: Message, name: str, value: Any) -> None:
    current = getattr(owner, name)
    if name == "init" and isinstance(value, str):
        value = {"from": value}
    if hasattr(current, "extend"):
        current.extend([value] if isinstance(value, int | float | str) else value)
    elif not isinstance(current, Message):
        setattr(owner, name, value)
    elif isinstance(value, Mapping):
        current.CopyFrom(type(current)(**value))
    else:
        current.CopyFrom(value)


def _opened(picture: PictureSource) -> PictureSource:
    """Paths as they are; a Pillow picture, whose array may be palette indices or CMYK, as its colours."""
    return picture if isinstance(picture, str | Path) else as_array(picture)


def _check_model(net: object, weights: object) -> None:
    for name, value, kinds, wanted in (
        ("net", net, (str, PathLike, NetParameter), "a path, a model's name or a NetParameter"),
        ("weights", weights, (str, PathLike, Mapping), "a path, a model's name or a mapping"),
    ):
        if value is not None and not isinstance(value, kinds):
            raise UsageError(
                f"style_transfer: {name}: got {type(value).__name__}, expected {wanted}"
            )


def _as_list(style: PictureSource | Sequence[PictureSource] | None) -> list[PictureSource]:
    if style is None:
        return []
    return list(style) if isinstance(style, list | tuple) else [style]  # type: ignore[list-item]


def _add_taps(term: Any, taps: Taps) -> None:
    for name in [taps] if isinstance(taps, str) else taps:
        term.layer.add(name=name, weight=taps[name] if isinstance(taps, Mapping) else 1.0)


def _add_styles(
    flags: SolverParameter,
    count: int,
    taps: Taps,
    weights: Sequence[float],
    masks: Sequence[MaskSource | None],
) -> None:
    if weights and len(weights) != count:
        raise UsageError(
            f"style_weights: one per style picture (got {len(weights)}, expected {count})"
        )
    if not taps and not weights and not masks:
        return
    for index in range(max(count, 1)):
        term = flags.style_transfer_param.style.add()
        if weights:
            term.weight = weights[index]
        _add_taps(term, taps)


def _add_masks(
    style: StyleTransferParameter,
    masks: Sequence[MaskSource | None],
    style_masks: Sequence[MaskSource | None],
    content_mask: MaskSource | None,
    keep_mask: MaskSource | None,
) -> dict[str, NDArray[Any]]:
    """Names every mask in the settings; returns the arrays by the names that stand in for files."""
    places: list[tuple[Any, str, str, MaskSource | None]] = []
    for field, sources in (("mask", masks), ("style_mask", style_masks)):
        if sources and len(sources) != len(style.style):
            raise UsageError(
                f"{field}s: one per style picture, None for a style without "
                f"(got {len(sources)}, expected {len(style.style)})"
            )
        for number, source in enumerate(sources):
            places.append((style.style[number], field, f"{field}-{number + 1}", source))
    places += [(style, "keep_mask", "keep", keep_mask)]
    places += [(style.content, "mask", "content", content_mask)] if content_mask is not None else []
    arrays: dict[str, NDArray[Any]] = {}
    for holder, field, name, source in places:
        if isinstance(source, str | Path):
            setattr(holder, field, str(source))
        elif source is not None:
            arrays[name] = np.asarray(source)
            setattr(holder, field, name)
    return arrays
