"""Copying weights into a net by layer name, with Caffe's strict shape rule, and saying what was left out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nst.core import Blob, Layer, Shape
from nst.core.shapes import text
from nst.errors import WeightsError

_log = logging.getLogger("nst.net")


@runtime_checkable
class LegacyAware(Protocol):
    """A stored blob that knows whether its shape was written in the legacy 4-D form."""

    @property
    def array(self) -> NDArray[Any]: ...

    @property
    def legacy(self) -> bool: ...


StoredWeights = Mapping[str, Sequence[Any]]
"""Layer name -> its blobs in order: numpy arrays, or records with `array` and `legacy`."""


@dataclass(frozen=True)
class CopyReport:
    """What a copy did: layers filled, layers of the net left as they were, source layers not used."""

    copied: tuple[str, ...]
    missing: tuple[str, ...]
    ignored: tuple[str, ...]


def copy_into(layers: Sequence[Layer], source: StoredWeights, owners: set[int]) -> CopyReport:
    """Fills the parameter blobs of `layers` from `source`.

    `owners`: ids of the blobs that are not shared from another layer; only those must be in the source.
    Raises WeightsError when a layer is there with other counts or shapes.
    """
    copied, missing, seen = [], [], set()
    for layer in layers:
        if layer.name in seen:
            continue  # duplicate names: the first one takes the weights
        seen.add(layer.name)
        stored = source.get(layer.name)
        if stored is not None:
            _copy_layer(layer, stored, owners)
            copied.append(layer.name)
        elif any(id(blob) in owners for blob in layer.params):
            missing.append(layer.name)
    ignored = [name for name in source if name not in seen]
    for name in ignored:
        _log.info("Ignoring source layer %s", name)
    return CopyReport(tuple(copied), tuple(missing), tuple(ignored))


def _copy_layer(layer: Layer, stored: Sequence[Any], owners: set[int]) -> None:
    """Copies blob by blob; one that is not stored (None, or beyond the end) must be a shared one."""
    padded = [*stored, *[None] * (len(layer.params) - len(stored))]
    for index, source in enumerate(padded):
        is_extra = index >= len(layer.params)
        if is_extra or (source is None and id(layer.params[index]) in owners):
            raise WeightsError(
                f"Incompatible number of blobs for layer {layer.name} "
                f"(got {len(stored)} in the source, expected {len(layer.params)})",
                layer=layer.name,
            )
        if source is not None:
            _copy_blob(layer.name, index, layer.params[index], source)


def _copy_blob(layer: str, index: int, blob: Blob, source: Any) -> None:
    legacy = isinstance(source, LegacyAware) and source.legacy
    array = np.asarray(source.array if isinstance(source, LegacyAware) else source)
    fits = array.shape == blob.shape
    if legacy and len(blob.shape) <= 4:
        fits = _four_axes(array.shape) == _four_axes(blob.shape)
    if not fits:
        raise WeightsError(
            f"Cannot copy param {index} weights from layer '{layer}'; shape mismatch. Source param "
            f"shape is {text(array.shape)}; target param shape is {text(blob.shape)}. To learn this "
            "layer's parameters from scratch rather than copying from a saved net, rename the layer.",
            layer=layer,
        )
    blob.data[...] = blob.backend.asarray(array.reshape(blob.shape), blob.dtype)


def _four_axes(shape: Shape) -> Shape:
    """Right-aligned legacy 4-D shape: a bias (N,) is (1, 1, 1, N)."""
    return (1,) * (4 - len(shape)) + tuple(shape)


def share_params(layers: Sequence[Layer], others: Sequence[Layer]) -> None:
    """Makes the parameters of `layers` the same memory as those of equally named ones of `others`.

    Raises NetError where counts or shapes differ (Net::ShareTrainedLayersWith).
    """
    sources = {layer.name: layer for layer in reversed(others)}
    for layer in layers:
        theirs = sources[layer.name].params if layer.name in sources else layer.params
        if len(theirs) != len(layer.params):
            raise layer.net_error(
                f"Incompatible number of blobs to share (got {len(theirs)}, expected "
                f"{len(layer.params)})"
            )
        for mine, shared in zip(layer.params, theirs, strict=True):
            if mine.shape != shared.shape:
                raise layer.net_error(
                    f"Cannot share parameters; shape mismatch (got {shared.shape}, expected "
                    f"{mine.shape})"
                )
            mine.share_data(shared)
