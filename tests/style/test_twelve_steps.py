"""The twelve steps, one test each, on the tiny net against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from support.tiny import pixels, tiny_net, tiny_weights

from nst.backend import Backend
from nst.errors import WeightsError
from nst.io.picture_transform import PictureTransform
from nst.net import Net
from nst.proto import EventParameter, GramParameter, SolverParameter
from nst.style import feature_net
from nst.style.objective import Objective, Tap
from nst.style.painter import Painter
from nst.style.transfer import (
    FeatureNet,
    StylePicture,
    Targets,
    build_painting_net,
    image_of,
    restore,
)

OBJECTIVE = Objective(
    content=(Tap("conv3_1", 1.5),),
    style=(Tap("conv1_1", 0.5), Tap("conv2_1", 2.0)),
    gram_normalize=GramParameter.HW,
    style_weight=0.1,
)
STYLE, CONTENT = pixels(20, 14, 1), pixels(13, 17, 2)


@pytest.fixture
def features(backend: Backend) -> FeatureNet:
    return FeatureNet(tiny_net(), OBJECTIVE, tiny_weights(), backend)


@pytest.fixture
def targets(features: FeatureNet) -> Targets:
    return features.capture_style([StylePicture(STYLE)]) | features.capture_content(CONTENT)


@pytest.fixture
def painting(features: FeatureNet, targets: Targets) -> Net:
    return build_painting_net(features, targets, pixels(13, 17, 3), tiny_weights())


def gram(feature: np.ndarray) -> np.ndarray:
    rows = feature[0].reshape(feature.shape[1], -1).astype(np.float64)
    return rows @ rows.T / rows.shape[1]


def run_by_layers(net: Net) -> None:
    """Runs a net one layer after the other: a compiled one keeps no inner values."""
    net.forward_from_to(0, len(net.layers) - 1)


def test_step_01_the_style_picture_goes_through_the_net_at_its_own_size(
    features: FeatureNet,
) -> None:
    features.look_at(STYLE)

    assert features.net.blobs["conv2_1"].shape == (1, 8, 10, 7)
    assert [layer.name for layer in features.net.layers][-2:] == ["gram_conv1_1", "gram_conv2_1"]


def test_step_02_the_gram_blobs_are_those_of_the_features_after_relu(
    features: FeatureNet,
) -> None:
    saved = features.capture_style([StylePicture(STYLE)])

    run_by_layers(features.net)
    feature = features.net.blobs["conv1_1"].to_host()
    assert feature.min() == 0
    np.testing.assert_allclose(saved["gram_conv1_1"][0], gram(feature), rtol=1e-4, atol=1e-2)


def test_step_03_the_content_picture_goes_through_the_same_net(features: FeatureNet) -> None:
    features.look_at(STYLE)
    features.look_at(CONTENT)

    assert features.net.blobs["conv3_1"].shape == (1, 8, 4, 5)  # 13 -> 7 -> 4, 17 -> 9 -> 5


def test_step_04_the_content_blob_is_saved_and_later_forwards_do_not_change_it(
    features: FeatureNet,
) -> None:
    saved = features.capture_content(CONTENT)["conv3_1"]
    before = saved.copy()

    features.look_at(STYLE)

    np.testing.assert_array_equal(saved, before)
    assert saved.shape == (1, 8, 4, 5)


def test_step_05_the_net_is_augmented_and_weight_learning_is_off(painting: Net) -> None:
    types = {layer.name: layer.type for layer in painting.layers}

    assert types["input1"] == "Parameter"
    assert types["event_gram_conv1_1"] == "Event"
    assert types["loss_conv3_1"] == "EuclideanLoss"
    learned = [
        blob for blob, lr in zip(painting.learnable_params, painting.params_lr, strict=True) if lr
    ]
    assert learned == [image_of(painting)]


def test_step_06_the_style_blobs_are_restored(painting: Net, targets: Targets) -> None:
    for name in ("gram_conv1_1", "gram_conv2_1"):
        np.testing.assert_array_equal(painting.blobs[f"input_{name}"].to_host(), targets[name])


def test_step_07_the_content_blob_is_restored(painting: Net, targets: Targets) -> None:
    painting.blobs["input_conv3_1"].data[...] = 0
    restore(painting, targets)

    np.testing.assert_array_equal(painting.blobs["input_conv3_1"].to_host(), targets["conv3_1"])


def test_step_08_the_solver_paints_and_every_step_lowers_the_loss(painting: Net) -> None:
    losses = [painting.forward_from_to()]
    painter = Painter(painting, SolverParameter(type="LBFGS"), 12, PictureTransform())

    painter.solve(lambda record: losses.append(record.loss))

    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.2 * losses[0]


def test_step_09_the_style_loss_is_the_distance_of_gram_and_target(
    painting: Net, targets: Targets
) -> None:
    run_by_layers(painting)

    terms = painting.loss_terms()
    for tap in OBJECTIVE.style:
        difference = gram(painting.blobs[tap.blob].to_host()) - targets[f"gram_{tap.blob}"][0]
        expected = 0.1 * tap.weight * (difference**2).sum() / 2
        assert terms[f"loss_gram_{tap.blob}"] == pytest.approx(expected, rel=1e-4)


def test_step_10_event_lets_through_only_the_gradients_that_matter(
    painting: Net, rng: np.random.Generator
) -> None:
    event = painting.layer_index("event_gram_conv1_1")
    gate = painting.layers[event].param.event_param.gate
    painting.forward_from_to()
    top, bottom = painting.tops_of(event)[0], painting.bottoms_of(event)[0]
    bottom.data[0, 0, :3] = 0
    top.diff[...] = painting.backend.asarray(rng.normal(size=top.shape), np.float32)

    painting.backward_from_to(event, event)

    assert gate == EventParameter.FEATURE_POSITIVE
    passed = np.array(bottom.diff_to_host())
    assert not passed[0, 0, :3].any()
    np.testing.assert_array_equal(passed[0, 1:], top.diff_to_host()[0, 1:])


def test_step_11_the_content_loss_is_the_distance_of_feature_and_target(
    painting: Net, targets: Targets
) -> None:
    run_by_layers(painting)

    difference = painting.blobs["conv3_1"].to_host().astype(np.float64) - targets["conv3_1"]
    expected = 1.5 * (difference**2).sum() / 2
    assert painting.loss_terms()["loss_conv3_1"] == pytest.approx(expected, rel=1e-5)


def test_step_12_the_gradient_that_reaches_input1_is_the_derivative_of_the_loss(
    backend: Backend, rng: np.random.Generator
) -> None:
    features = FeatureNet(tiny_net(), OBJECTIVE, tiny_weights(), backend, dtype=np.float64)
    targets = features.capture_style([StylePicture(STYLE)]) | features.capture_content(CONTENT)
    net = build_painting_net(features, targets, pixels(13, 17, 3), tiny_weights())
    image = image_of(net)
    net.forward_backward()
    gradient, start = image.diff.copy(), image.data.copy()

    for _ in range(4):
        direction = backend.asarray(rng.normal(size=image.shape), np.float64)
        values = []
        for step in (1e-6, -1e-6):
            image.data[...] = start + step * direction
            values.append(net.forward_from_to())
        numeric = (values[0] - values[1]) / 2e-6
        assert numeric == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


class TestProperties:
    def test_style_loss_does_not_see_where_things_are(
        self, features: FeatureNet, rng: np.random.Generator
    ) -> None:
        features.look_at(STYLE)
        run_by_layers(features.net)
        blob = features.net.blobs["conv1_1"]
        rows = np.array(blob.to_host()).reshape(6, -1)
        index = features.net.layer_index("gram_conv1_1")
        before = np.array(features.net.blobs["gram_conv1_1"].to_host())

        split = features.net.bottoms_of(index)[0]
        split.data[...] = blob.backend.asarray(
            rows[:, rng.permutation(rows.shape[1])].reshape(blob.shape), np.float32
        )
        features.net.layers[index].forward([split], features.net.tops_of(index))

        after = features.net.blobs["gram_conv1_1"].to_host()
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-3)

    def test_swapped_colours_give_other_features(self, features: FeatureNet) -> None:
        straight = features.capture_content(CONTENT)["conv3_1"]
        swapped = features.capture_content(np.ascontiguousarray(CONTENT[:, ::-1]))["conv3_1"]

        assert np.abs(straight - swapped).max() > 1

    def test_the_order_of_extraction_does_not_matter(self, features: FeatureNet) -> None:
        first = features.capture_style([StylePicture(STYLE)])
        features.capture_content(CONTENT)
        second = features.capture_style([StylePicture(STYLE)])

        np.testing.assert_array_equal(first["gram_conv2_1"], second["gram_conv2_1"])

    def test_a_style_that_is_the_content_has_no_style_loss_at_its_start(
        self, features: FeatureNet
    ) -> None:
        targets = features.capture_style([StylePicture(CONTENT)])
        targets |= features.capture_content(CONTENT)
        net = build_painting_net(features, targets, CONTENT, tiny_weights())

        net.forward_backward()

        assert net.forward_from_to() == pytest.approx(0, abs=1e-4)
        assert np.abs(image_of(net).diff_to_host()).max() < 1e-3

    def test_the_pruned_net_gives_the_features_of_the_whole_net(
        self, features: FeatureNet, backend: Backend
    ) -> None:
        whole = Net(feature_net.as_input(tiny_net()), backend=backend)
        whole.copy_weights(tiny_weights())
        whole.blobs["data"].data[...] = backend.asarray(pixels(16, 16, 4), np.float32)
        whole.forward_from_to()

        features.look_at(pixels(16, 16, 4))

        run_by_layers(features.net)
        for blob in ("conv1_1", "conv2_1", "conv3_1"):
            np.testing.assert_allclose(
                features.net.blobs[blob].to_host(), whole.blobs[blob].to_host(), rtol=1e-5
            )

    def test_several_styles_are_mixed_by_their_weights(self, features: FeatureNet) -> None:
        other = pixels(9, 30, 8)
        one = features.capture_style([StylePicture(STYLE)])["gram_conv1_1"]
        two = features.capture_style([StylePicture(other)])["gram_conv1_1"]

        mixed = features.capture_style([StylePicture(STYLE, 3), StylePicture(other, 1)])

        np.testing.assert_allclose(mixed["gram_conv1_1"], 0.75 * one + 0.25 * two, rtol=1e-5)

    def test_layers_left_without_weights_are_named_and_nothing_runs(self, backend: Backend) -> None:
        weights = tiny_weights()
        del weights["conv1_2"], weights["conv2_1"]

        with pytest.raises(WeightsError, match=r"no weights for 2 layer\(s\).*: conv1_2, conv2_1"):
            FeatureNet(tiny_net(), OBJECTIVE, weights, backend)
