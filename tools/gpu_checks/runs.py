"""Whole style-transfer iterations on VGG19 with random weights: forward, losses, backward, Adam's step.

Ours and PyTorch's compute the same objective. A run is anything with `step(n)`,
which may return before the GPU is done, and `wait()`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from benchmark import nets
from numpy.typing import NDArray

from gpu_checks import pictures
from gpu_checks.engine import make_backend
from gpu_checks.stages import Scale
from nst.backend import Backend
from nst.net import Net
from nst.proto import SolverParameter
from nst.solvers import build_solver
from nst.style.objective import Tap
from nst.style.statistics import statistic_blob
from nst.style.transfer import FeatureNet, StylePicture, build_painting_net, image_of

NET = "vgg19"
RATE = 0.02
"""Adam's; pictures have deviation 1."""
CONTENT_SHARE = 0.05


@dataclass(frozen=True)
class Run:
    """One contender."""

    step: Callable[[int], object]
    wait: Callable[[], object]
    loss: Callable[[], float]
    """The loss at the picture as it is; waits."""
    gradient: Callable[[], NDArray[Any]]
    """Of the loss with respect to the picture as it is."""
    picture: Callable[[], NDArray[Any]]


@cache
def random_weights() -> nets.Weights:
    """Of VGG19, the same in every process."""
    return nets.random_weights(NET)


def painting_net(backend: Backend, size: int) -> Net:
    """The net whose parameter is the picture, with targets of a style and a content picture.

    The loss of each tap is its mean squared distance from the target over the target's mean square. Content
    counts CONTENT_SHARE as much.
    """
    weights, objective = random_weights(), nets.objective(NET)
    features = FeatureNet(nets.feature_net(NET), objective, weights, backend)
    targets = features.capture_style([StylePicture(pictures.picture(size, pictures.STYLE))])
    targets |= features.capture_content(pictures.picture(size, pictures.CONTENT))
    balanced = replace(
        objective,
        style=tuple(_balanced(tap, targets[statistic_blob(tap)]) for tap in objective.style),
        content=tuple(_balanced(tap, targets[tap.blob]) for tap in objective.content),
        style_weight=1.0,
        content_weight=CONTENT_SHARE,
    )
    return build_painting_net(features, targets, pictures.start(size), weights, balanced)


def _balanced(tap: Tap, target: NDArray[Any]) -> Tap:
    return replace(tap, weight=1 / float(np.mean(np.square(target, dtype=np.float64))))


def our_run(scale: Scale, precision: str, size: int, rule: str = "Adam") -> Run:
    """The engine as `nst-solve` uses it."""
    backend = make_backend(scale, precision)
    net = painting_net(backend, size)
    settings = SolverParameter(type=rule, max_iter=1 << 30, lr_policy="fixed", base_lr=RATE)
    settings.momentum, settings.momentum2, settings.delta = 0.9, 0.999, 1e-8
    settings.lbfgs_corrections = 10
    if rule == "LBFGS":
        settings.ClearField("momentum")
    solver = build_solver(settings, net)
    image = image_of(net)

    def gradient() -> NDArray[Any]:
        net.forward_backward()
        return np.array(image.diff_to_host())

    return Run(
        solver.step,
        backend.synchronize,
        net.forward_from_to,
        gradient,
        lambda: np.array(image.to_host()),
    )
