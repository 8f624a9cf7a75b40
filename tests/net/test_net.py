"""Building and running nets: reshape at forward, partial runs, losses, sharing."""

from __future__ import annotations

import numpy as np
import pytest

from nst.backend import Backend
from nst.errors import NetError, WeightsError
from nst.io.prototxt import parse_net
from nst.net import Net

CHAIN = """
name: "chain" force_backward: true
layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "y"
        convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
layer { name: "pool" type: "Pooling" bottom: "y" top: "z"
        pooling_param { kernel_size: 2 stride: 2 } }
"""

SHARED_WEIGHTS = """
layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "target" type: "Input" top: "t" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "y" param { name: "w" %s } param { name: "b" }
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "c" type: "InnerProduct" bottom: "y" top: "z" param { name: "w" %s } param { name: "b" }
        inner_product_param { num_output: %d weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "z" bottom: "t" top: "l" }
"""


def test_an_input_may_be_reshaped_at_any_time(backend: Backend) -> None:
    net = Net(parse_net(CHAIN), backend=backend)

    net.blobs["x"].reshape(2, 2, 7, 9)
    net.forward_from_to()

    assert net.blobs["y"].shape == (2, 3, 7, 9)
    assert net.blobs["z"].shape == (2, 3, 4, 5)  # Caffe's pooling rounds up


def test_reshape_only_propagates_shapes(backend: Backend) -> None:
    net = Net(parse_net(CHAIN), backend=backend)

    net.blobs["x"].reshape(1, 2, 6, 6)
    net.reshape()

    assert net.blobs["z"].shape == (1, 3, 3, 3)


def test_a_changed_channel_count_is_refused_with_both_numbers(backend: Backend) -> None:
    net = Net(parse_net(CHAIN), backend=backend)
    net.blobs["x"].reshape(1, 5, 6, 6)

    with pytest.raises(
        NetError, match=r"layer 'conv': Input size incompatible.*expected 2 channels"
    ):
        net.forward_from_to()


def test_a_partial_forward_stops_before_the_in_place_relu(
    backend: Backend, rng: np.random.Generator
) -> None:
    net = Net(parse_net(CHAIN), backend=backend)
    net.blobs["x"].data[...] = backend.asarray(rng.normal(size=(1, 2, 4, 5)), np.float32)
    conv, relu = net.layer_index("conv"), net.layer_index("relu")

    net.forward_from_to(0, conv)
    before = np.array(net.blobs["y"].to_host())
    net.forward_from_to(relu, relu)

    assert before.min() < 0
    np.testing.assert_array_equal(net.blobs["y"].to_host(), np.maximum(before, 0))


def test_backward_from_the_conv_is_not_masked_by_its_relu(
    backend: Backend, rng: np.random.Generator
) -> None:
    net = Net(parse_net(CHAIN), backend=backend)
    net.blobs["x"].data[...] = backend.asarray(rng.normal(size=(1, 2, 4, 5)), np.float32)
    net.forward_from_to()
    top = rng.normal(size=(1, 3, 4, 5)).astype(np.float32)

    def gradient_from(layer: str) -> np.ndarray:
        net.blobs["y"].diff[...] = backend.asarray(top, np.float32)
        net.backward_from_to(net.layer_index(layer))
        return np.array(net.blobs["x"].diff_to_host())

    masked, unmasked = gradient_from("relu"), gradient_from("conv")
    net.blobs["y"].diff[...] = backend.asarray(top * (net.blobs["y"].to_host() > 0), np.float32)
    net.backward_from_to(net.layer_index("conv"))

    assert not np.allclose(masked, unmasked)
    np.testing.assert_allclose(masked, net.blobs["x"].diff_to_host(), rtol=1e-6)


def test_parameter_gradients_add_up_until_they_are_cleared(
    backend: Backend, rng: np.random.Generator
) -> None:
    net = Net(parse_net(SHARED_WEIGHTS % ("", "", 3)), backend=backend)
    net.blobs["x"].data[...] = backend.asarray(rng.normal(size=(2, 3)), np.float32)
    net.forward_backward()
    once = np.array(net.params["a"][0].diff_to_host())

    net.forward_backward()
    twice = np.array(net.params["a"][0].diff_to_host())
    net.clear_param_diffs()

    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6, atol=1e-7)  # sums of numbers near 1
    assert not net.params["a"][0].diff_to_host().any()


def test_shared_parameters_are_one_memory_and_gather_both_gradients(
    backend: Backend, rng: np.random.Generator
) -> None:
    x, t = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    net = Net(parse_net(SHARED_WEIGHTS % ("", "", 3)), backend=backend, dtype=np.float32)
    net.blobs["x"].data[...] = backend.asarray(x, np.float32)
    net.blobs["t"].data[...] = backend.asarray(t, np.float32)

    net.forward_backward()

    w, b = (np.array(blob.to_host(), np.float64) for blob in net.params["a"])
    y = x @ w.T + b
    dz = (y @ w.T + b - t) / 2
    expected = dz.T @ y + (dz @ w).T @ x  # both uses of w
    assert len(net.learnable_params) == 2
    assert net.params["a"][0].data_memory is net.params["c"][0].data_memory
    np.testing.assert_allclose(net.params["c"][0].diff_to_host(), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "outputs", "message"),
    [
        ("", "", 2, "Cannot share param 'w' owned by layer 'a' with layer 'c'; shape mismatch"),
        ("", "share_mode: PERMISSIVE", 2, "count mismatch"),
        ("lr_mult: 1", "lr_mult: 2", 3, "Shared param 'w' has mismatched lr_mult"),
        ("decay_mult: 1", "decay_mult: 0", 3, "Shared param 'w' has mismatched decay_mult"),
    ],
)
def test_sharing_that_does_not_fit_is_refused(
    first: str, second: str, outputs: int, message: str, backend: Backend
) -> None:
    with pytest.raises(NetError, match=message):
        Net(parse_net(SHARED_WEIGHTS % (first, second, outputs)), backend=backend)


def test_the_first_explicit_multiplier_counts(backend: Backend) -> None:
    net = Net(parse_net(SHARED_WEIGHTS % ("", "lr_mult: 5 decay_mult: 7", 3)), backend=backend)

    assert net.params_lr == [5, 1]
    assert net.params_weight_decay == [7, 1]


def test_overwriting_a_loss_tops_diff_changes_loss_and_gradient(
    backend: Backend, rng: np.random.Generator
) -> None:
    net = Net(parse_net(SHARED_WEIGHTS % ("", "", 3)), backend=backend)
    net.blobs["x"].data[...] = backend.asarray(rng.normal(size=(2, 3)), np.float32)
    loss = net.forward_backward()
    gradient = np.array(net.params["a"][0].diff_to_host())

    net.blobs["l"].diff[...] = 3
    net.clear_param_diffs()

    assert net.forward_backward() == pytest.approx(3 * loss)
    rounding = 1e-6 * np.abs(gradient).max()  # two uses of the weights may cancel in one value
    np.testing.assert_allclose(
        net.params["a"][0].diff_to_host(), 3 * gradient, rtol=1e-5, atol=rounding
    )


def test_splits_share_data_instead_of_copying_it(backend: Backend) -> None:
    net = Net(
        parse_net(
            CHAIN + 'layer { name: "p1" type: "ReLU" bottom: "z" top: "p1" }'
            'layer { name: "p2" type: "ReLU" bottom: "z" top: "p2" }'
        ),
        backend=backend,
    )
    net.forward_from_to()

    memories = {id(net.blobs[f"z_pool_0_split_{k}"].data_memory) for k in (0, 1)}
    assert memories == {id(net.blobs["z"].data_memory)}


def test_non_finite_values_are_traced_to_their_layer(backend: Backend) -> None:
    net = Net(parse_net(CHAIN), backend=backend)
    net.blobs["x"].data[...] = 1
    net.params["conv"][1].data[...] = np.inf
    net.forward_from_to()

    assert net.find_non_finite() == "layer 'conv' (Convolution), blob 'y'"


def test_an_unknown_layer_name_is_an_error_with_the_nearest(backend: Backend) -> None:
    net = Net(parse_net(CHAIN), backend=backend)

    with pytest.raises(ValueError, match=r"no layer 'con' in net 'chain'. Did you mean 'conv'"):
        net.layer_index("con")


class TestCopyingWeights:
    def test_layers_are_matched_by_name_and_the_rest_is_reported(self, backend: Backend) -> None:
        net = Net(parse_net(CHAIN), backend=backend)
        w = np.arange(54, dtype=np.float32).reshape(3, 2, 3, 3)

        report = net.copy_weights({"conv": [w, np.ones(3)], "elsewhere": [np.ones(2)]})
        untouched = Net(parse_net(CHAIN), backend=backend).copy_weights({})

        np.testing.assert_array_equal(net.params["conv"][0].to_host(), w)
        assert (report.copied, report.missing, report.ignored) == (("conv",), (), ("elsewhere",))
        assert untouched.missing == ("conv",)

    def test_another_shape_is_refused_with_both_and_a_way_out(self, backend: Backend) -> None:
        net = Net(parse_net(CHAIN), backend=backend)

        with pytest.raises(
            WeightsError,
            match=r"Cannot copy param 0 weights from layer 'conv'; shape mismatch. Source param shape "
            r"is 3 2 1 9 \(54\); target param shape is 3 2 3 3 \(54\).*rename the layer",
        ):
            net.copy_weights({"conv": [np.ones((3, 2, 1, 9)), np.ones(3)]})

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_another_number_of_blobs_is_refused(self, count: int, backend: Backend) -> None:
        net = Net(parse_net(CHAIN), backend=backend)
        blobs = [np.ones((3, 2, 3, 3)), np.ones(3), np.ones(3)][:count]

        with pytest.raises(WeightsError, match="Incompatible number of blobs for layer conv"):
            net.copy_weights({"conv": blobs})

    def test_shared_blobs_may_be_missing(self, backend: Backend) -> None:
        net = Net(parse_net(SHARED_WEIGHTS % ("", "", 3)), backend=backend)

        net.copy_weights({"a": [np.eye(3), np.ones(3)], "c": []})

        np.testing.assert_array_equal(net.params["c"][0].to_host(), np.eye(3))
