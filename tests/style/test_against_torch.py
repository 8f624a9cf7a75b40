"""VGG19 at its real widths: loss and picture gradient of the presets against PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nst.backend import Backend
from nst.io.known_models import locate_models
from nst.io.prototxt import read_net
from nst.proto import NetParameter
from nst.style.job import read_objective
from nst.style.presets import find_preset
from nst.style.transfer import FeatureNet, StylePicture, build_painting_net, image_of

SIZE = 256
GRADIENT_ERROR = {"numpy": 1e-3, "cpu": 1e-2, "cuda": 1e-3}
"""Relative L2 against float64. ReLU and max-pool decisions flip in float32; Winograd's rounding, 1e-5 per
layer, flips more of them than im2col's."""

TAPS = [f"conv{block}_1" for block in range(1, 6)]
Weights = dict[str, list[np.ndarray]]
Features = dict[str, Any]


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="needs PyTorch, a development-only oracle")


@pytest.fixture(scope="module")
def vgg19() -> NetParameter:
    return read_net(locate_models() / "vgg19/net.prototxt")


@pytest.fixture(scope="module")
def weights(vgg19: NetParameter) -> Weights:
    """Seeded He weights of the real shapes."""
    rng = np.random.default_rng(0)
    found, channels = {}, 3
    for layer in vgg19.layer:
        if layer.type == "Convolution":
            outputs = layer.convolution_param.num_output
            w = rng.normal(size=(outputs, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
            b = rng.normal(size=outputs) * 0.1
            found[layer.name] = [w.astype(np.float32), b.astype(np.float32)]
            channels = outputs
    return found


def vgg_features(
    torch: Any, vgg19: NetParameter, weights: Weights, x: Any, *, is_edge_repeated: bool
) -> Features:
    """Post-ReLU features up to conv5_1 in float64; zeros around the picture, or its edge once more."""
    features = {}
    x = torch.nn.functional.pad(
        x, (1, 1, 1, 1), mode="replicate" if is_edge_repeated else "constant"
    )
    for layer in vgg19.layer:
        if layer.type == "Convolution":
            w, b = (torch.tensor(array, dtype=torch.float64) for array in weights[layer.name])
            padding = 1 if features else 0
            x = torch.relu(torch.nn.functional.conv2d(x, w, b, padding=padding))
            features[layer.name] = x
        elif layer.type == "Pooling":
            x = torch.nn.functional.max_pool2d(x, 2, 2, ceil_mode=True)
        if layer.name == "relu5_1":
            break
    return features


def gram(feature: Any) -> Any:
    rows = feature[0].flatten(1)
    return rows @ rows.T


def positions(feature: Any) -> int:
    return feature[0, 0].numel()


def gatys(f: Features, content: Features, style: Features, x: Any) -> Any:
    """arXiv 1508.06576, eq. 1, 4, 5 with Gram matrices per position, so that the style has its own size."""
    loss = 0.5 * (f["conv4_2"] - content["conv4_2"]).pow(2).sum()
    for tap in TAPS:
        difference = gram(f[tap]) / positions(f[tap]) - gram(style[tap]) / positions(style[tap])
        loss = loss + 1000 * 0.2 / (4 * f[tap].shape[1] ** 2) * difference.pow(2).sum()
    return loss


def johnson(f: Features, content: Features, style: Features, x: Any) -> Any:
    """jcjohnson/neural-style's content 5, style 100, and a TV whose gradient is 1e-3 times differences."""
    loss = 5 * (f["conv4_2"] - content["conv4_2"]).pow(2).mean()
    for tap in TAPS:
        ours, theirs = f[tap][0].numel(), style[tap][0].numel()
        loss = loss + 100 * (gram(f[tap]) / ours - gram(style[tap]) / theirs).pow(2).mean()
    dx = x[:, :, :-1, :-1] - x[:, :, :-1, 1:]
    dy = x[:, :, :-1, :-1] - x[:, :, 1:, :-1]
    return loss + 5e-4 * (dx.pow(2) + dy.pow(2)).sum()


def crowson(f: Features, content: Features, style: Features, x: Any) -> Any:
    """style-transfer-pytorch: content 0.015, W2 by layer and channel, nine-point TV of pixels from 0 to 1."""
    linalg = pytest.importorskip("torch").linalg
    loss = 0.015 * (f["conv4_2"] - content["conv4_2"]).pow(2).mean()
    for tap, weight in zip(TAPS, (256, 64, 16, 4, 1), strict=True):
        (mean, ours), (target, theirs) = moments(f[tap]), moments(style[tap])
        ridge = 1e-4 * theirs.diagonal().mean() * theirs.new_ones(len(mean)).diag()
        values, vectors = linalg.eigh(theirs + ridge)
        root = (vectors * values.sqrt()) @ vectors.T
        cross = linalg.eigvalsh(root @ (ours + ridge) @ root).clamp(min=0).sqrt().mean()
        shift = (mean - target).pow(2).mean()
        spread = (ours + theirs + 2 * ridge).diagonal().mean() - 2 * cross
        loss = loss + weight / 341 * (shift + spread)
    pixels = x / 255
    straight = [pixels[:, :, :, 1:] - pixels[:, :, :, :-1], pixels[:, :, 1:] - pixels[:, :, :-1]]
    slanted = [
        pixels[:, :, 1:, 1:] - pixels[:, :, :-1, :-1],
        pixels[:, :, 1:, :-1] - pixels[:, :, :-1, 1:],
    ]
    squares = sum(d.pow(2).sum() / 3 for d in straight) + sum(d.pow(2).sum() / 12 for d in slanted)
    return loss + 2 * 2 * squares / pixels.numel()


def moments(feature: Any) -> tuple[Any, Any]:
    rows = feature[0].flatten(1)
    mean = rows.mean(1)
    return mean, rows @ rows.T / rows.shape[1] - mean[:, None] * mean


@pytest.mark.torch
@pytest.mark.parametrize("objective", [gatys, johnson, crowson])
def test_loss_and_gradient_agree_with_pytorch(
    objective: Callable[..., Any],
    torch: Any,
    vgg19: NetParameter,
    weights: Weights,
    backend: Backend,
    rng: np.random.Generator,
) -> None:
    content = rng.normal(0, 60, (1, 3, SIZE, SIZE)).astype(np.float32)
    style = rng.normal(0, 60, (1, 3, SIZE - 32, SIZE + 16)).astype(np.float32)
    start = rng.normal(0, 60, content.shape).astype(np.float32)
    param = find_preset(objective.__name__).settings.style_transfer_param
    features = FeatureNet(vgg19, read_objective(param, vgg19), weights, backend)
    targets = features.capture_style([StylePicture(style)]) | features.capture_content(content)
    net = build_painting_net(features, targets, start, weights)

    loss = net.forward_backward()

    vgg = functools.partial(vgg_features, is_edge_repeated=objective is crowson)
    x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        fixed = [
            vgg(torch, vgg19, weights, torch.tensor(picture, dtype=torch.float64))
            for picture in (content, style)
        ]
    expected = objective(vgg(torch, vgg19, weights, x), *fixed, x)
    expected.backward()
    gradient = image_of(net).diff_to_host()
    error = np.linalg.norm(gradient - x.grad.numpy()) / np.linalg.norm(x.grad.numpy())
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert error < GRADIENT_ERROR[backend.name]
