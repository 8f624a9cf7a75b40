"""Gradient shares: parts of one whole, and the same at every size under the losses of `fine`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.tiny import pixels, tiny_net, tiny_weights

from nst.backend import Backend, get_backend
from nst.io.images import read_picture
from nst.io.prototxt import parse_solver, read_net
from nst.io.weights import read_weights
from nst.style.gradient_shares import gradient_shares
from nst.style.job import StyleJob, load_job
from nst.style.objective import Objective, Tap
from nst.style.run import run_job
from nst.style.settings import with_preset
from nst.style.transfer import FeatureNet, StylePicture, build_painting_net, image_of

QUICKSTART = Path(__file__).resolve().parents[2] / "models" / "quickstart"


def test_shares_sum_to_one_and_follow_the_weights(backend: Backend) -> None:
    shares = []
    for weight in (1.0, 10.0):
        objective = Objective(
            content=(Tap("conv3_1"),), style=(Tap("conv2_1"),), style_weight=weight * 1e-3
        )
        features = FeatureNet(tiny_net(), objective, tiny_weights(), backend)
        targets = features.capture_style([StylePicture(pixels(16, 16, 1))])
        targets |= features.capture_content(pixels(16, 16, 2))
        net = build_painting_net(features, targets, pixels(16, 16, 3), tiny_weights())
        shares.append(gradient_shares(net))

    odds = [share["gram_conv2_1"] / share["conv3_1"] for share in shares]
    assert sum(shares[0].values()) == pytest.approx(1)
    assert odds[1] == pytest.approx(10 * odds[0], rel=1e-3)


def test_measuring_leaves_the_gradient_of_the_whole_loss(backend: Backend) -> None:
    objective = Objective(content=(Tap("conv3_1"),), style=(Tap("conv2_1"),), style_weight=1e-3)
    features = FeatureNet(tiny_net(), objective, tiny_weights(), backend)
    targets = features.capture_style([StylePicture(pixels(16, 16, 1))])
    targets |= features.capture_content(pixels(16, 16, 2))
    net = build_painting_net(features, targets, pixels(16, 16, 3), tiny_weights())
    loss = net.forward_backward()
    before = np.array(image_of(net).diff_to_host())

    gradient_shares(net)

    after = image_of(net).diff_to_host()
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())
    assert net.forward_from_to() == pytest.approx(loss)


def fine_job(size: int) -> StyleJob:
    """The preset on the embedded model and its own pictures, one size, a few iterations."""
    settings = parse_solver(
        f'max_iter: 15 style_transfer_param {{ preset: "fine" sizes: {size} report_gradients: true }}'
    )
    net = read_net(QUICKSTART / "net.prototxt")
    return load_job(
        with_preset(settings, parse_solver("")),
        get_backend("auto"),
        content=read_picture(QUICKSTART / "content.jpg").rgb,
        styles=[read_picture(QUICKSTART / "style.jpg").rgb],
        net=net,
        weights=read_weights(
            QUICKSTART / "quickstart.caffemodel", {layer.name for layer in net.layer}
        ),
    )


def test_a_small_picture_previews_a_large_one() -> None:
    """Every term that matters has about the same share of the gradient at twice the size."""
    small, large = (run_job(fine_job(size)).gradient_shares[0] for size in (96, 192))

    for name, share in small.items():
        larger, smaller = max(share, large[name]), min(share, large[name])
        assert larger < 2.5 * smaller + 0.02, name
