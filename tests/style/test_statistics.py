"""Every style statistic through the twelve steps: captured, mixed, compared, differentiated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
from support.tiny import picture, pixels, tiny_net, tiny_weights

from nst.backend import Backend
from nst.errors import UsageError
from nst.io.prototxt import parse_solver
from nst.net import Net
from nst.proto import GramParameter, StyleTransferParameter
from nst.style.job import load_job
from nst.style.objective import Objective, Tap
from nst.style.objective_settings import read_objective
from nst.style.statistics import statistic_blob
from nst.style.transfer import FeatureNet, StylePicture, build_painting_net, image_of

STATISTICS = ["GRAM", "W2", "MOMENTS", "MMD_LINEAR", "MMD_POLYNOMIAL"]
STYLE, START = pixels(20, 14, 1), pixels(13, 17, 3)


def number(statistic: str) -> int:
    return StyleTransferParameter.StyleStatistic.Value(statistic)


def objective_of(*statistics: str, form: str = "MEAN") -> Objective:
    return Objective(
        content=(),
        style=tuple(Tap("conv2_1", 2.0, number(statistic)) for statistic in statistics),
        style_weight=0.5,
        style_loss=StyleTransferParameter.LossForm.Value(form),
        gram_normalize=GramParameter.HW,
        mmd_offset=0.7,
    )


def painting(backend: Backend, objective: Objective) -> Net:
    features = FeatureNet(tiny_net(), objective, tiny_weights(), backend, dtype=np.float64)
    targets = features.capture_style([StylePicture(STYLE)])
    return build_painting_net(features, targets, START, tiny_weights())


def features_of(backend: Backend, picture: np.ndarray) -> np.ndarray:
    net = FeatureNet(tiny_net(), objective_of("GRAM"), tiny_weights(), backend, dtype=np.float64)
    net.look_at(picture)
    return np.array(net.net.blobs["conv2_1"].to_host()).reshape(8, -1)


def squared_distance(statistic: str, f: np.ndarray, t: np.ndarray) -> float:
    """d^2 and what MEAN divides it by, from the features (C, K)."""
    shift = ((f.mean(axis=1) - t.mean(axis=1)) ** 2).sum()
    gram = f @ f.T / f.shape[1] - t @ t.T / t.shape[1]
    if statistic == "GRAM":
        return (gram**2).mean()
    if statistic == "MOMENTS":
        return (shift + ((f.std(axis=1) - t.std(axis=1)) ** 2).sum()) / 8
    if statistic == "MMD_LINEAR":
        return shift / 8
    if statistic == "MMD_POLYNOMIAL":
        return ((gram**2).sum() + 2 * 0.7 * shift) / 72
    s, c = np.cov(f, bias=True), np.cov(t, bias=True)
    return (shift + np.trace(s + c) - 2 * scipy.linalg.sqrtm(s @ c).real.trace()) / 8


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_style_loss_is_the_weighted_distance_of_the_statistics(
    statistic: str, backend: Backend
) -> None:
    net = painting(backend, objective_of(statistic))

    loss = net.forward_from_to()

    f, t = features_of(backend, START), features_of(backend, STYLE)
    # a ten-thousandth of the mean variance is added to covariances
    assert loss == pytest.approx(0.5 * 2.0 * squared_distance(statistic, f, t), rel=5e-3)


@pytest.mark.parametrize("form", ["HALF_SUM", "RELATIVE"])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_gradient_that_reaches_the_picture_is_exact(
    statistic: str, form: str, backend: Backend, rng: np.random.Generator
) -> None:
    net = painting(backend, objective_of(statistic, form=form))
    image = image_of(net)
    net.forward_backward()
    gradient, start = image.diff.copy(), image.data.copy()

    for _ in range(3):
        direction = backend.asarray(rng.normal(size=image.shape), np.float64)
        values = []
        for step in (1e-5, -1e-5):
            image.data[...] = start + step * direction
            values.append(net.forward_from_to())
        slope = (values[0] - values[1]) / 2e-5
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-5)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_picture_of_the_style_itself_costs_nothing(statistic: str, backend: Backend) -> None:
    objective = objective_of(statistic, form="RELATIVE")
    features = FeatureNet(tiny_net(), objective, tiny_weights(), backend)
    targets = features.capture_style([StylePicture(STYLE)])

    loss = build_painting_net(features, targets, STYLE, tiny_weights()).forward_from_to()

    assert loss == pytest.approx(0, abs=1e-6)


def test_statistics_of_one_layer_may_be_combined(backend: Backend) -> None:
    both = painting(backend, objective_of("W2", "GRAM"))
    total = both.forward_from_to()

    alone = [painting(backend, objective_of(s)).forward_from_to() for s in ("W2", "GRAM")]
    assert set(both.loss_terms()) == {"loss_w2_conv2_1", "loss_gram_conv2_1"}
    assert total == pytest.approx(sum(alone))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_several_styles_mix_as_moments(statistic: str, backend: Backend) -> None:
    features = FeatureNet(tiny_net(), objective_of(statistic), tiny_weights(), backend)
    name = statistic_blob(features.objective.style[0])
    one, two = (features.capture_style([StylePicture(picture)])[name] for picture in (STYLE, START))

    mixed = features.capture_style([StylePicture(STYLE, 3), StylePicture(START, 1)])[name]

    np.testing.assert_allclose(mixed, 0.75 * one + 0.25 * two, rtol=1e-5)


OF_FEATURES = ["MMD_GAUSSIAN", "HISTOGRAM", "MRF"]


def distance_to_features(statistic: str, f: np.ndarray, t: np.ndarray) -> float:
    """d^2 between features (C, H, W) and those of the style, one pair after the other."""
    if statistic == "HISTOGRAM":
        total = 0.0
        for ours, theirs in zip(f.reshape(8, -1), t.reshape(8, -1), strict=True):
            places = (np.arange(ours.size) + 0.5) / ours.size * theirs.size - 0.5
            wanted = np.interp(places, np.arange(theirs.size), np.sort(theirs))
            total += ((np.sort(ours) - wanted) ** 2).mean()
        return total
    if statistic == "MRF":
        ours, theirs = patches(f), patches(t)
        likeness = ours @ (theirs / np.linalg.norm(theirs, axis=1, keepdims=True)).T
        return ((ours - theirs[likeness.argmax(axis=1)]) ** 2).sum(axis=1).mean()
    x, y = f.reshape(8, -1).T, t.reshape(8, -1).T
    width = scipy.spatial.distance.cdist(y, y, "sqeuclidean").mean()

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        distances = scipy.spatial.distance.cdist(a, b, "sqeuclidean")
        return float(np.exp(-distances / (2 * width)).mean())

    return kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)


def patches(f: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(f, (3, 3), axis=(1, 2))
    return windows.transpose(1, 2, 0, 3, 4).reshape(-1, 9 * len(f))


def maps_of(backend: Backend, picture: np.ndarray) -> np.ndarray:
    net = FeatureNet(tiny_net(), objective_of("GRAM"), tiny_weights(), backend, dtype=np.float64)
    net.look_at(picture)
    return np.array(net.net.blobs["conv2_1"].to_host())[0]


@pytest.mark.parametrize("form", ["MEAN", "RELATIVE"])
@pytest.mark.parametrize("statistic", OF_FEATURES)
def test_features_are_compared_with_those_of_the_style(
    statistic: str, form: str, backend: Backend
) -> None:
    loss = painting(backend, objective_of(statistic, form=form)).forward_from_to()

    f, t = maps_of(backend, START), maps_of(backend, STYLE)
    entries = {"MMD_GAUSSIAN": 1, "HISTOGRAM": 8, "MRF": 72}
    sizes = {
        "MMD_GAUSSIAN": 1,
        "HISTOGRAM": (t**2).mean(axis=(1, 2)).sum(),
        "MRF": (patches(t) ** 2).sum(axis=1).mean(),
    }
    unit = (entries if form == "MEAN" else sizes)[statistic]
    assert loss == pytest.approx(distance_to_features(statistic, f, t) / unit, rel=1e-6)


@pytest.mark.parametrize("statistic", OF_FEATURES)
def test_the_gradient_of_a_comparison_with_features_is_exact(
    statistic: str, backend: Backend, rng: np.random.Generator
) -> None:
    net = painting(backend, objective_of(statistic, "W2", form="RELATIVE"))
    image = image_of(net)
    net.forward_backward()
    gradient, start = image.diff_to_host().copy(), image.to_host().copy()

    direction = rng.normal(size=image.shape)
    values = []
    for step in (1e-6, -1e-6):
        image.data[...] = backend.asarray(start + step * direction, image.dtype)
        values.append(net.forward_from_to())
    slope = (values[0] - values[1]) / 2e-6
    assert slope == pytest.approx((gradient * direction).sum(), rel=1e-4)


@pytest.mark.parametrize("statistic", OF_FEATURES)
def test_features_of_several_styles_do_not_mix(statistic: str, backend: Backend) -> None:
    settings = parse_solver(
        f"max_iter: 1 style_transfer_param {{ content_weight: 0 style_statistic: {statistic} "
        "transform_param { mean_value: 128 } size: 24 }"
    )
    pictures = [picture(24, 24, seed) for seed in (1, 2)]

    with pytest.raises(UsageError, match=f"{statistic} compares with the features of one whole"):
        load_job(settings, backend, styles=pictures, net=tiny_net(), weights=tiny_weights())


def test_gatys_style_term_is_the_polynomial_mmd(backend: Backend) -> None:
    """Li et al. 2017: with offset 0 both are |G - A|^2 of Gram matrices over positions."""
    gatys = painting(backend, objective_of("GRAM", form="HALF_SUM"))
    polynomial = dataclasses.replace(
        objective_of("MMD_POLYNOMIAL", form="HALF_SUM"), mmd_offset=0.0
    )
    extraction = FeatureNet(tiny_net(), polynomial, tiny_weights(), backend, dtype=np.float64)
    targets = extraction.capture_style([StylePicture(STYLE)])
    mmd = build_painting_net(extraction, targets, START, tiny_weights())

    assert mmd.forward_backward() == pytest.approx(gatys.forward_backward(), rel=1e-12)
    got, expected = (image_of(net).diff_to_host() for net in (mmd, gatys))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_a_relative_content_loss_is_measured_by_the_content(backend: Backend) -> None:
    objective = Objective(
        content=(Tap("conv2_1", 3.0),),
        style=(),
        content_weight=2,
        content_loss=StyleTransferParameter.RELATIVE,
    )
    features = FeatureNet(tiny_net(), objective, tiny_weights(), backend)
    targets = features.capture_content(pixels(13, 17, 5))

    loss = build_painting_net(features, targets, START, tiny_weights()).forward_from_to()

    f, p = features_of(backend, START), features_of(backend, pixels(13, 17, 5))
    assert loss == pytest.approx(6 * ((f - p) ** 2).sum() / (p**2).sum(), rel=1e-4)


class TestSettings:
    def read(self, text: str) -> Objective:
        settings = parse_solver(f"style_transfer_param {{ {text} }}")
        return read_objective(settings.style_transfer_param, tiny_net())

    def test_a_layer_may_name_its_own_statistic(self) -> None:
        objective = self.read(
            'style_statistic: W2 style { layer { name: "conv1_1" } '
            'layer { name: "relu2_1" statistic: MOMENTS weight: 2 } '
            'layer { name: "relu2_1" } }'
        )

        assert objective.style == (
            Tap("conv1_1", 1.0, number("W2")),
            Tap("conv2_1", 2.0, number("MOMENTS")),
            Tap("conv2_1", 1.0, number("W2")),
        )

    def test_without_layers_the_usual_ones_of_the_net_are_taken(self) -> None:
        objective = self.read("style_statistic: W2")

        assert objective.content == (Tap("conv3_2"),)
        assert objective.style == tuple(
            Tap(blob, 1.0, number("W2")) for blob in ("conv1_1", "conv2_1", "conv3_1")
        )

    def test_a_layer_without_a_name_is_the_usual_one_at_its_place(self) -> None:
        objective = self.read(
            "content { layer { weight: 2 } } style { layer { weight: 8 } "
            'layer { name: "conv1_2" } layer { weight: 3 } layer { weight: 9 } }'
        )

        assert objective.content == (Tap("conv3_2", 2.0),)
        assert [(tap.blob, tap.weight) for tap in objective.style] == [
            ("conv1_1", 8.0),
            ("conv1_2", 1.0),
            ("conv3_1", 3.0),
        ]

    def test_a_content_layer_has_no_statistic(self) -> None:
        with pytest.raises(UsageError, match="content layer 'conv1_1': statistics are for style"):
            self.read('content { layer { name: "conv1_1" statistic: W2 } }')

    def test_a_negative_offset_is_refused(self) -> None:
        with pytest.raises(UsageError, match="mmd_offset: must be finite and >= 0"):
            self.read('mmd_offset: -1 style { layer { name: "conv1_1" } }')
