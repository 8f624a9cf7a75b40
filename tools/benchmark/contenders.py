"""Who takes part: each contender makes, from a net's name and a size, the two iterations that are timed.

forward   the feature net and its Gram matrices
both      forward, Gram and content losses, and backward to the picture: one evaluation of a style run without
          the optimiser's own step
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark import nets
from nst.backend import Backend
from nst.backend.cpu import CpuBackend
from nst.backend.numpy_backend import NumpyBackend
from nst.core import RandomSource
from nst.net import Net
from nst.style.augment import for_solving
from nst.style.transfer import FeatureNet, image_of, restore

TRAINING = "train:"
"""A net named so runs training iterations; its size is the number of pictures in a batch."""


@dataclass(frozen=True)
class Iterations:
    """The timed calls; `both` returns the loss, `gradient` what it left."""

    forward: Callable[[], object]
    both: Callable[[], float]
    gradient: Callable[[], Any]


def make(contender: str, name: str, size: int, threads: int) -> Iterations:
    """Builds a contender: cpu, cpu:<instruction set>, numpy, torch or torch:channels_last."""
    kind, _, form = contender.partition(":")
    if name.startswith(TRAINING):
        return _training(kind, form, name.removeprefix(TRAINING), size, threads)
    if kind == "torch":
        from benchmark import torch_nets

        return torch_nets.make(name, size, threads, channels_last=form == "channels_last")
    backend = NumpyBackend() if kind == "numpy" else CpuBackend(threads, form or None)
    return _ours(name, size, backend)


def _training(kind: str, form: str, name: str, batch: int, threads: int) -> Iterations:
    if kind == "torch":
        from benchmark import torch_training

        return torch_training.make(name, batch, threads, channels_last=form == "channels_last")
    from benchmark import training

    return training.ours(name, batch, CpuBackend(threads, form or None))


def _ours(name: str, size: int, backend: Backend) -> Iterations:
    weights, objective = nets.random_weights(name), nets.objective(name)
    features = FeatureNet(nets.feature_net(name), objective, weights, backend)
    targets = features.capture_style([_style(size)])
    targets |= features.capture_content(nets.picture(size, 2))
    shapes = {blob: value.shape for blob, value in targets.items()}
    start = nets.picture(size, 3)
    param = for_solving(features.param, objective, shapes, start.shape, features.param_counts())
    del features
    net = Net(param, backend=backend, rng=RandomSource(0), recycle_gradients=True)
    net.copy_weights(weights)
    weights.clear()
    restore(net, targets)
    image = image_of(net)
    image.data[...] = start
    last_gram = max(i for i, layer in enumerate(net.layers) if layer.type == "Gram")
    return Iterations(
        lambda: net.forward_from_to(0, last_gram),
        net.forward_backward,
        lambda: np.array(image.diff_to_host()),
    )


def _style(size: int) -> Any:
    from nst.style.transfer import StylePicture

    return StylePicture(nets.picture(size, 1))
