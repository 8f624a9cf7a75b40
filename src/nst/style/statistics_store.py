"""Style statistics that are computed once: what they depend on, and where they are kept.

A store maps a key to the style targets of one size. The key is the hash of everything they are computed
from: the part of the net that the style taps need, its weights, the pictures as the net sees them with
their shares, and the backend. So a store may be shared by runs with other contents, weights of the loss or
solvers, and never gives what another net, size or model would have given.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nst.errors import FileError
from nst.io.style_library import StyleLibrary
from nst.proto import StyleTransferParameter
from nst.style import augment
from nst.style.identity import hash_of
from nst.style.job import StyleJob
from nst.style.transfer import FeatureNet, StylePicture, Targets

log = logging.getLogger("nst.style")


class StatisticsStore(Protocol):
    """Keeps style targets by key."""

    def get(self, key: str) -> Mapping[str, Any] | None:
        """What was put, or None."""
        ...

    def put(self, key: str, arrays: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Keeps the targets; `about` tells a reader of lists what they are."""
        ...


class MemoryStore:
    """Keeps them as long as the program runs, and in a library behind it, if there is one."""

    def __init__(self, library: StyleLibrary | None = None) -> None:
        self.library = library
        self.computed = 0
        """How many were put, that is: had to be computed."""
        self._kept: dict[str, Mapping[str, Any]] = {}

    def get(self, key: str) -> Mapping[str, Any] | None:
        if key not in self._kept and self.library is not None:
            try:
                found = self.library.get(key)
            except FileError as error:
                log.warning("%s; the statistics are computed again", error)
                found = None
            if found is not None:
                self._kept[key] = found
        return self._kept.get(key)

    def put(self, key: str, arrays: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        self.computed += 1
        self._kept[key] = arrays
        if self.library is not None:
            try:
                self.library.put(key, arrays, about)
            except FileError as error:
                log.warning("%s; the run goes on without", error)


def style_targets(
    features: FeatureNet,
    pictures: Sequence[StylePicture],
    job: StyleJob,
    store: StatisticsStore | None,
) -> Targets:
    """`FeatureNet.capture_style`, or what the store has of it."""
    if store is None:
        return features.capture_style(pictures)
    key = statistics_key(job, pictures)
    found = store.get(key)
    if found is not None:
        return dict(found)
    targets = features.capture_style(pictures)
    store.put(key, targets, _about(job, pictures))
    return targets


def statistics_key(job: StyleJob, pictures: Sequence[StylePicture]) -> str:
    """The hash of everything that decides the style statistics."""
    objective = dataclasses.replace(
        job.objective, content=(), tv_weight=0.0, style=job.objective.whole_taps
    )
    net = augment.for_extraction(job.net, objective)
    names = {layer.name for layer in net.layer}
    weights = {name: arrays for name, arrays in job.weights.items() if name in names}
    parts = [
        hash_of(net),
        hash_of(weights),
        hash_of(list(pictures)),
        job.backend.name,
        StyleTransferParameter.Precision.Name(job.style_param.precision),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _about(job: StyleJob, pictures: Sequence[StylePicture]) -> dict[str, Any]:
    height, width = pictures[0].pixels.shape[2:]
    return {
        "style": " + ".join(style.picture.path.name for style in job.styles),
        "sha256": [style.picture.sha256 for style in job.styles],
        "size": f"{width}x{height}",
        "net": job.net.name,
        "taps": [tap.blob for tap in job.objective.style],
        "backend": job.backend.name,
    }
