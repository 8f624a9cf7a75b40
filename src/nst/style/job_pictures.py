"""The pictures of a job: content, styles, start and masks, read and checked against each other."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.errors import UsageError
from nst.io.images import Picture, read_picture
from nst.io.masks import labels_in, mask_from_array, read_mask, resize_mask
from nst.io.recipe import FileRecord
from nst.io.resample import fit_longest_side
from nst.proto import (
    NetParameter,
    SolverParameter,
    StyleTerm,
    StyleTransferParameter,
)
from nst.style.colour import is_matched_before, match_colours
from nst.style.objective_settings import read_taps
from nst.style.region_names import REST, region_names
from nst.style.regions import Regions, complete
from nst.style.statistics import statistic_blob

log = logging.getLogger("nst.style")

PictureSource = str | Path | NDArray[Any]
"""A picture file, or an array (H, W, 3) of RGB values 0 to 255."""

Files = dict[str, FileRecord]
"""What was read, by role: it goes into the recipe."""

ALL = "all"
"""The region that stands for every label of a map."""

MASK_SIZES = (1024, 4096)
"""Longest side of masks in memory: the content's own within these; the sizes of a run do not change it."""

ASPECT_TOLERANCE = 0.01
"""A mask may be so much longer or shorter than its picture, or half a pixel of its own."""


@dataclass(frozen=True)
class StyleSource:
    """One style picture with its share, its size relative to the result, and its own tap weights.

    `region` is empty for the whole picture; `mask` (H, W), 0 to 1, is what of the style picture counts.
    """

    picture: Picture
    weight: float
    scale: float
    stretch: bool
    tap_weights: dict[str, float]
    region: str = ""
    mask: NDArray[Any] | None = None


@dataclass(frozen=True)
class JobPictures:
    """All pictures of a job; `shape` is height and width, in any unit, of the result."""

    content: Picture | None
    styles: tuple[StyleSource, ...]
    regions: Regions
    shape: tuple[int, int]


def read_pictures(
    param: StyleTransferParameter,
    net: NetParameter,
    files: Files,
    *,
    content: PictureSource | None,
    styles: Sequence[PictureSource],
    masks: Mapping[str, NDArray[Any]],
) -> JobPictures:
    """Reads what the settings name; what is given is in its place. Raises NstError of the kind that fits."""
    mask_files = MaskFiles(files, masks)
    picture = _read_content(param, content, files)
    sources = _read_styles(param, styles, net, mask_files, files)
    if picture is None and not sources:
        raise UsageError("no picture given (expected a content, a style, or both)")
    shape = _shape_of(param, picture, sources, mask_files)
    regions = _read_regions(param, mask_files, shape, picture)
    if param.color != StyleTransferParameter.STYLE:
        sources = _coloured(sources, picture, regions, param.color)
    return JobPictures(picture, sources, regions, shape)


def with_all_regions(settings: SolverParameter) -> SolverParameter:
    """The settings with every style of `region: "all"` once for each label of its mask."""
    style = settings.style_transfer_param
    if not any(term.region == ALL for term in style.style):
        return settings
    result = SolverParameter()
    result.CopyFrom(settings)
    del result.style_transfer_param.style[:]
    for term in style.style:
        if term.region == ALL and not term.mask:
            raise UsageError("region: 'all' of no mask (expected a label map as mask)")
        for label in labels_in(term.mask) if term.region == ALL else [term.region]:
            copy = result.style_transfer_param.style.add()
            copy.CopyFrom(term)
            if label:
                copy.region = label
    return result


class MaskFiles:
    """Reads masks, by path or from the arrays that a caller has given in their place."""

    def __init__(self, files: Files, given: Mapping[str, NDArray[Any]]) -> None:
        self._files, self._given = files, given

    def read(self, path: str, region: str, role: str, shape: tuple[int, int]) -> NDArray[Any]:
        """The mask for a picture of `shape`, in its own size; UsageError if it has another aspect."""
        mask, record = self._load(path, region)
        if record is not None:
            self._files[role] = record
        height, width = mask.shape
        fitted = fit_longest_side((height, width), max(shape), enlarge=True)
        rounding = max(1.0, 0.5 * max(shape) / max(height, width))  # of the sides of a small mask
        if any(
            abs(a - b) > max(rounding, ASPECT_TOLERANCE * b)
            for a, b in zip(fitted, shape, strict=True)
        ):
            raise UsageError(
                f"{role}: {Path(path).name} does not fit its picture (got {width}x{height}, expected the "
                f"aspect of {shape[1]}x{shape[0]}). Any size will do, the shape must agree"
            )
        if mask.max() == 0:
            raise UsageError(f"{role}: {Path(path).name} is black all over, so nothing is in it")
        return mask

    def size_of(self, path: str, region: str) -> tuple[int, int]:
        """Height and width of a mask."""
        height, width = self._load(path, region)[0].shape
        return height, width

    def _load(self, path: str, region: str) -> tuple[NDArray[Any], FileRecord | None]:
        if path in self._given:
            return mask_from_array(self._given[path]), None
        mask, picture = read_mask(path, region)
        return mask, FileRecord(Path(path).name, picture.sha256)


def _read_content(
    param: StyleTransferParameter, given: PictureSource | None, files: Files
) -> Picture | None:
    """The content picture, if there is one."""
    if given is not None:
        return read_source(given, "content", files)
    return read_source(param.content.image, "content", files) if param.content.image else None


def _read_styles(
    param: StyleTransferParameter,
    given: Sequence[PictureSource],
    net: NetParameter,
    masks: MaskFiles,
    files: Files,
) -> tuple[StyleSource, ...]:
    """The style pictures; `given` ones take the settings of the terms, the last for all that follow."""
    terms = list(param.style)
    sources: list[PictureSource] = [term.image for term in terms if term.image]
    if len(given):
        sources = list(given)
        terms = [terms[min(i, len(terms) - 1)] for i in range(len(sources))] if terms else []
    terms = terms or [StyleTerm()] * len(sources)
    regions = region_names(terms, keeps=bool(param.keep_mask))
    found = []
    for number, (source, term, region) in enumerate(zip(sources, terms, regions, strict=False)):
        if term.weight < 0 or term.scale <= 0:
            raise UsageError(
                f"style: weight must be >= 0 and scale > 0 (got {term.weight}, {term.scale})"
            )
        name = "style" if not number else f"style {number + 1}"
        taps = {statistic_blob(tap): tap.weight for tap in read_taps(term.layer, net, param)}
        picture = read_source(source, name, files)
        mask = None
        if term.style_mask:
            role, shape = f"{name} style_mask", picture.rgb.shape
            mask = masks.read(term.style_mask, term.region, role, (shape[0], shape[1]))
        found.append(
            StyleSource(picture, term.weight, term.scale, term.stretch, taps, region, mask)
        )
    if found and not sum(style.weight for style in found):
        raise UsageError("style: all weights are 0 (expected at least one above)")
    return tuple(found)


def _shape_of(
    param: StyleTransferParameter,
    content: Picture | None,
    styles: Sequence[StyleSource],
    masks: MaskFiles,
) -> tuple[int, int]:
    """Height and width, in any unit, that give the result its aspect: of the content, as `aspect` says,
    of the first mask, or of the first style."""
    if param.aspect and content is not None:
        raise UsageError(
            "aspect: the content picture has its own (expected one number for --size, or no content)"
        )
    if param.aspect:
        if len(param.aspect) != 2 or not all(param.aspect):
            raise UsageError(f"aspect: got {list(param.aspect)}, expected a width and a height")
        return param.aspect[1], param.aspect[0]
    first = next((term for term in param.style if term.mask), None)
    if content is None and first is not None:
        return masks.size_of(first.mask, first.region)
    height, width = (content or styles[0].picture).rgb.shape[:2]
    return height, width


def _read_regions(
    param: StyleTransferParameter, masks: MaskFiles, shape: tuple[int, int], content: Picture | None
) -> Regions:
    """All masks that lie over the result, whose height and width are as those of `shape`."""
    longest = min(max(*shape, MASK_SIZES[0]), MASK_SIZES[1])
    size = fit_longest_side(shape, longest, enlarge=True)

    def read(path: str, region: str, role: str) -> NDArray[Any]:
        mask = masks.read(path, region, role, shape)
        return resize_mask(mask, size)

    names = region_names(param.style, keeps=bool(param.keep_mask))
    styles: dict[str, NDArray[Any]] = {}
    for term, name in zip(param.style, names, strict=True):
        if term.region and not (term.mask or term.style_mask):
            raise UsageError(
                f"region: '{term.region}' of no mask (expected mask or style_mask too)"
            )
        if term.mask and name not in styles:
            styles[name] = read(term.mask, term.region, f"mask {name}")
    if (param.keep_mask or param.content.mask) and content is None:
        raise UsageError(
            "keep_mask, content mask: there is no content picture that they could show"
        )
    keep = read(param.keep_mask, "", "keep_mask") if param.keep_mask else None
    weight = read(param.content.mask, "", "content mask") if param.content.mask else None
    return complete(
        styles,
        content=weight,
        keep=keep,
        has_rest=REST in names or not names,
        has_content=content is not None,
    )


def _coloured(
    styles: tuple[StyleSource, ...], content: Picture | None, regions: Regions, how: int
) -> tuple[StyleSource, ...]:
    """The styles in the colours of the content, where `color` asks for that before the run.

    A style of a region gets the colours that the content has there.
    """
    if content is None:
        raise UsageError("color: nothing to take the colours from (got no content picture)")
    if not is_matched_before(how):
        return styles
    height, width = content.rgb.shape[:2]
    masks = regions.at((height, width)).styles
    found = []
    for style in styles:
        colours = content.rgb
        if style.region and (masks[style.region] > 0.5).any():
            colours = content.rgb[masks[style.region] > 0.5][:, np.newaxis]
        matched = match_colours(style.picture.rgb, colours, how)
        found.append(replace(style, picture=replace(style.picture, rgb=matched)))
    return tuple(found)


def read_source(source: PictureSource, role: str, files: Files) -> Picture:
    """A picture from its file or array."""
    if isinstance(source, str | Path):
        picture = read_picture(source)
        files[role] = FileRecord(Path(source).name, picture.sha256)
        for note in picture.notes:
            log.info("%s picture: %s", role, note)
        return picture
    return Picture.from_array(np.asarray(source))
