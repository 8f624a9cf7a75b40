"""The measured nets: model-zoo descriptions, the taps of a style run, random He weights, a random picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nst.backend.numpy_backend import NumpyBackend
from nst.io.prototxt import parse_net
from nst.net import Net
from nst.proto import GramParameter, NetParameter, StyleTransferParameter
from nst.style.augment import for_extraction
from nst.style.objective import Objective, Tap

MODELS = Path(__file__).resolve().parents[2] / "models"

STYLE_TAPS = {
    "vgg19": ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
    "squeezenet_v1.0": ("conv1", "fire2/concat", "fire4/concat", "fire8/concat"),
    "googlenet": ("conv1/7x7_s2", "conv2/3x3", "inception_3a/output", "inception_4a/output"),
}
CONTENT_TAP = {
    "vgg19": "conv4_2",
    "squeezenet_v1.0": "fire5/concat",
    "googlenet": "inception_4c/output",
}

Weights = dict[str, list[NDArray[np.float32]]]


def objective(name: str) -> Objective:
    """Mean squared errors of features and of Gram matrices per pixel, the sum a PyTorch user would write."""
    return Objective(
        content=(Tap(CONTENT_TAP[name]),),
        style=tuple(Tap(blob) for blob in STYLE_TAPS[name]),
        style_weight=1e3,
        gram_normalize=GramParameter.HW,
        content_loss=StyleTransferParameter.MEAN,
        style_loss=StyleTransferParameter.MEAN,
    )


def feature_net(name: str) -> NetParameter:
    """The model's own description, as text says it."""
    return parse_net((MODELS / name / "net.prototxt").read_text(), path=name)


def random_weights(name: str) -> Weights:
    """He-normal kernels and zero biases for every layer up to the last tap."""
    rng = np.random.default_rng(0)
    net = Net(for_extraction(feature_net(name), objective(name)), backend=NumpyBackend())
    weights: Weights = {}
    for layer in net.layers:
        for blob in layer.params:
            fan_in = math.prod(blob.shape[1:]) if len(blob.shape) > 1 else math.inf
            values = rng.standard_normal(blob.shape, np.float32) * np.float32(math.sqrt(2 / fan_in))
            weights.setdefault(layer.name, []).append(values)
    return weights


def picture(size: int, seed: int) -> NDArray[np.float32]:
    """A random picture (1, 3, size, size) in [-1, 1], the range random weights are made for."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (1, 3, size, size)).astype(np.float32)
