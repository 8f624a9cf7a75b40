"""The measured nets on our own backends, prepared as a style run prepares them."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark import nets
from benchmark.iterations import Iterations
from nst.backend import Backend
from nst.core import RandomSource
from nst.net import Net
from nst.style.augment import for_solving
from nst.style.transfer import FeatureNet, StylePicture, image_of, restore


def make(name: str, size: int, backend: Backend, dtype: str = "float32") -> Iterations:
    """Builds a contender. Targets are those of float32 whatever the type of the net."""
    net = solving_net(name, size, backend, dtype)
    image = image_of(net)
    last_gram = max(i for i, layer in enumerate(net.layers) if layer.type == "Gram")
    return Iterations(
        lambda: net.forward_from_to(0, last_gram),
        net.forward_backward,
        lambda: np.array(image.diff_to_host()),
    )


def solving_net(name: str, size: int, backend: Backend, dtype: str = "float32") -> Net:
    """The net of a style run on random pictures, its targets set."""
    weights, objective = nets.random_weights(name), nets.objective(name)
    features = FeatureNet(nets.feature_net(name), objective, weights, backend)
    targets: dict[str, Any] = features.capture_style([StylePicture(nets.picture(size, 1))])
    targets |= features.capture_content(nets.picture(size, 2))
    shapes = {blob: value.shape for blob, value in targets.items()}
    start = nets.picture(size, 3)
    param = for_solving(features.param, objective, shapes, start.shape, features.param_counts())
    del features
    options: dict[str, Any] = {"rng": RandomSource(0), "recycle_gradients": True}
    net = Net(param, backend=backend, dtype=np.dtype(dtype), **options)
    net.copy_weights(weights)
    weights.clear()
    restore(net, targets)
    image_of(net).data[...] = start
    return net
