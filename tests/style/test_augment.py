"""The augmentation passes: prototxt in, prototxt out."""

from __future__ import annotations

import numpy as np
import pytest
from support.tiny import pixels, tiny_net, tiny_weights

from nst.backend import Backend
from nst.errors import NetError, UsageError
from nst.io.prototxt import format_message, parse_net
from nst.proto import (
    EventParameter,
    GramParameter,
    NetParameter,
    PadParameter,
    PoolingParameter,
)
from nst.style import augment, feature_net
from nst.style.objective import Objective, Tap
from nst.style.transfer import FeatureNet, StylePicture

DATA = 'layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }'
CONV = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { name: "w" lr_mult: 3 }
        convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""
OBJECTIVE = Objective(
    content=(Tap("conv", 2.0),),
    style=(Tap("conv", 0.5),),
    content_scale=0.1,
    gram_scale=0.25,
    gram_normalize=GramParameter.HW,
    tv_weight=0.01,
)
TARGETS = {"conv": (1, 2, 6, 6), "gram_conv": (1, 2, 2)}


def same(actual: NetParameter, expected: str) -> None:
    assert format_message(actual) == format_message(parse_net(expected))


def test_as_input_renames_the_input_layer_and_keeps_its_blob() -> None:
    same(
        feature_net.as_input(parse_net(DATA + CONV)),
        DATA.replace('"d"', '"input1"') + CONV,
    )


def test_as_input_takes_the_place_of_data_layers() -> None:
    net = parse_net(
        'layer { name: "d" type: "ImageData" top: "data" top: "label" }'
        'layer { name: "h" type: "HDF5Data" top: "other" }' + CONV
    )

    same(
        feature_net.as_input(net),
        'layer { name: "input1" type: "Input" top: "data" '
        "input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } } }" + CONV,
    )


def test_as_input_refuses_a_net_with_several_inputs() -> None:
    net = parse_net(DATA + 'layer { name: "e" type: "Input" top: "more" }')

    with pytest.raises(NetError, match=r"several inputs \(got data, more, expected one"):
        feature_net.as_input(net)


def test_only_ancestors_of_the_taps_are_kept_and_the_last_writer_of_a_name_counts() -> None:
    net = feature_net.keep_ancestors(feature_net.as_input(tiny_net()), ["conv2_1"])

    assert [layer.name for layer in net.layer] == [
        *("input1", "conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1_2", "conv2_1", "relu2_1")
    ]


def test_an_unknown_tap_is_an_error_with_the_nearest_blob() -> None:
    with pytest.raises(NetError, match=r"no blob 'conv2_9' in net 'tiny'.*Did you mean 'conv2_1'"):
        feature_net.keep_ancestors(feature_net.as_input(tiny_net()), ["conv2_9"])


def test_a_tap_may_be_named_by_its_layer() -> None:
    assert feature_net.resolve_tap(tiny_net(), "relu2_1") == "conv2_1"
    with pytest.raises(UsageError, match="layer 'relu9': not a blob or layer of net 'tiny'"):
        feature_net.resolve_tap(tiny_net(), "relu9")


def test_pooling_is_replaced_everywhere() -> None:
    net = feature_net.use_pooling(tiny_net(), PoolingParameter.AVE)

    methods = [layer.pooling_param.pool for layer in net.layer if layer.type == "Pooling"]
    assert methods == [PoolingParameter.AVE] * 2


def test_the_whole_augmentation_has_the_originals_names() -> None:
    extraction = augment.for_extraction(parse_net(DATA + CONV), OBJECTIVE)

    solving = augment.for_solving(extraction, OBJECTIVE, TARGETS, (1, 3, 8, 8), {"conv": 2})

    same(
        solving,
        """
        state { phase: TEST } force_backward: false
        layer { name: "input1" type: "Parameter" top: "data" param { lr_mult: 1 decay_mult: 0 }
                parameter_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
        layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
                param { name: "w" lr_mult: 0 decay_mult: 0 } param { lr_mult: 0 decay_mult: 0 }
                convolution_param { num_output: 2 kernel_size: 3 } }
        layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
        layer { name: "gram_conv" type: "Gram" bottom: "conv" top: "gram_conv"
                gram_param { alpha: 0.25 normalize: HW disable_scaling_on_gradient: false } }
        layer { name: "input_conv" type: "Input" top: "input_conv"
                input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } } }
        layer { name: "input_gram_conv" type: "Input" top: "input_gram_conv"
                input_param { shape { dim: 1 dim: 2 dim: 2 } } }
        layer { name: "scalar_conv" type: "Scalar" bottom: "conv" top: "convb"
                scalar_param { value: 0.1 operation: MUL passthrough_gradient: false } }
        layer { name: "scalar_input_conv" type: "Scalar" bottom: "input_conv" top: "input_convb"
                scalar_param { value: 0.1 operation: MUL passthrough_gradient: false } }
        layer { name: "event_conv" type: "Event" bottom: "convb" bottom: "input_convb"
                top: "event_conv" event_param { gate: FEATURE_POSITIVE } }
        layer { name: "loss_conv" type: "EuclideanLoss" bottom: "event_conv" bottom: "input_convb"
                top: "loss_conv" loss_weight: 2 }
        layer { name: "event_gram_conv" type: "Event" bottom: "gram_conv" bottom: "input_gram_conv"
                top: "event_gram_conv" event_param { gate: FEATURE_POSITIVE } }
        layer { name: "loss_gram_conv" type: "EuclideanLoss" bottom: "event_gram_conv"
                bottom: "input_gram_conv" top: "loss_gram_conv" loss_weight: 0.5 }
        layer { name: "loss_tv" type: "TVLoss" bottom: "data" top: "loss_tv" loss_weight: 0.01
                tv_loss_param { } }
        """,
    )


def test_passes_leave_their_argument_untouched() -> None:
    net = parse_net(DATA + CONV)
    before = net.SerializeToString()

    extraction = augment.for_extraction(net, OBJECTIVE)
    middle = extraction.SerializeToString()
    augment.for_solving(extraction, OBJECTIVE, TARGETS, (1, 3, 8, 8), {"conv": 2})

    assert net.SerializeToString() == before
    assert extraction.SerializeToString() == middle


def test_without_a_content_scale_there_is_no_scalar() -> None:
    objective = Objective(content=(Tap("conv"),), style=())
    extraction = augment.for_extraction(parse_net(DATA + CONV), objective)

    solving = augment.for_solving(extraction, objective, {"conv": (1, 2, 6, 6)}, (1, 3, 8, 8), {})

    assert "Scalar" not in {layer.type for layer in solving.layer}


@pytest.mark.parametrize(
    ("extra", "rectified"),
    [
        ("", True),
        ('layer { name: "p" type: "Pooling" bottom: "conv" top: "y" }', True),
        ('layer { name: "p" type: "Power" bottom: "conv" top: "y" }', False),
        ('layer { name: "p" type: "Concat" bottom: "conv" bottom: "data" top: "y" }', False),
        ('layer { name: "p" type: "Concat" bottom: "conv" bottom: "conv" top: "y" }', True),
        (
            'layer { name: "p" type: "ReLU" bottom: "conv" top: "y" relu_param { negative_slope: 0.1 } }',
            False,
        ),
    ],
)
def test_the_gate_is_open_where_no_relu_makes_it_exact(extra: str, rectified: bool) -> None:
    tap = "y" if extra else "conv"
    net = parse_net(DATA + CONV + extra)

    assert feature_net.is_rectified(net, tap) is rectified
    objective = Objective(content=(Tap(tap),), style=())
    augmented = augment.add_content_losses(net, objective, {tap: (1, 2, 6, 6)})
    (event,) = (layer for layer in augmented.layer if layer.type == "Event")
    expected = EventParameter.FEATURE_POSITIVE if rectified else EventParameter.NONE
    assert event.event_param.gate == expected


def test_padding_moves_from_the_first_convolution_to_a_layer_of_its_own() -> None:
    objective = Objective(content=(Tap("conv1_2"),), style=(), padding=PadParameter.REPLICATE)

    net = augment.for_extraction(tiny_net(), objective)

    layers = {layer.name: layer for layer in net.layer}
    assert [layer.name for layer in net.layer][:3] == ["input1", "pad_conv1_1", "conv1_1"]
    assert (layers["pad_conv1_1"].pad_param.pad_h, layers["pad_conv1_1"].pad_param.pad_w) == (1, 1)
    assert list(layers["conv1_1"].bottom) == ["pad_conv1_1"]
    assert not layers["conv1_1"].convolution_param.pad
    assert list(layers["conv1_2"].convolution_param.pad) == [1]


def test_the_first_convolution_pads_at_least_half_its_kernel_then() -> None:
    objective = Objective(content=(Tap("conv"),), style=(), padding=PadParameter.REPLICATE)

    net = augment.for_extraction(parse_net(DATA + CONV), objective)

    (pad,) = (layer for layer in net.layer if layer.type == "Pad")
    assert (pad.pad_param.pad_h, pad.pad_param.pad_w) == (1, 1)


@pytest.mark.parametrize("mode", [PadParameter.REPLICATE, PadParameter.ZERO])
def test_padding_by_a_layer_keeps_the_sizes_and_the_inside(mode: int, backend: Backend) -> None:
    plain, padded = (
        FeatureNet(
            tiny_net(),
            Objective(content=(Tap("conv1_1"),), style=(), padding=padding),
            tiny_weights(),
            backend,
        ).capture_content(pixels(9, 7, 1))["conv1_1"]
        for padding in (None, mode)
    )

    inside = slice(None), slice(None), slice(1, -1), slice(1, -1)
    np.testing.assert_allclose(padded[inside], plain[inside], rtol=1e-4, atol=1e-3)
    assert np.allclose(padded, plain, rtol=1e-4, atol=1e-3) is (mode == PadParameter.ZERO)


def test_padding_of_every_layer_takes_over_from_all_convolutions() -> None:
    objective = Objective(
        content=(Tap("conv2_1"),),
        style=(),
        padding=PadParameter.REPLICATE,
        pad_every_layer=True,
    )

    net = augment.for_extraction(tiny_net(), objective)

    names = [layer.name for layer in net.layer if layer.type == "Pad"]
    assert names == ["pad_conv1_1", "pad_conv1_2", "pad_conv2_1"]
    assert not any(layer.convolution_param.pad for layer in net.layer)


def test_a_flat_picture_has_flat_features_when_every_layer_pads_with_its_edge(
    backend: Backend,
) -> None:
    objective = Objective(
        content=(Tap("conv3_1"),),
        style=(),
        padding=PadParameter.REPLICATE,
        pad_every_layer=True,
    )
    features = FeatureNet(tiny_net(), objective, tiny_weights(), backend)

    found = features.capture_content(np.full((1, 3, 16, 12), 40, np.float32))["conv3_1"]

    np.testing.assert_allclose(found - found[:, :, :1, :1], 0, atol=1e-2)


def test_a_margin_trims_what_statistics_are_taken_of() -> None:
    objective = Objective(
        content=(Tap("conv1_1"),), style=(Tap("conv1_1"), Tap("conv2_1")), style_margin=2
    )

    net = augment.for_extraction(tiny_net(), objective)

    layers = {layer.name: layer for layer in net.layer}
    for tap in ("conv1_1", "conv2_1"):
        assert list(layers[f"trim_{tap}"].bottom) == [tap]
        assert layers[f"trim_{tap}"].trim_param.margin == 2
        assert list(layers[f"gram_{tap}"].bottom) == [f"trim_{tap}"]
    assert list(layers["conv1_2"].bottom) == ["conv1_1"]


@pytest.mark.parametrize("margin", [0, 1])
def test_without_the_margin_a_flat_style_has_one_statistic_at_every_size(
    margin: int, backend: Backend
) -> None:
    """Zeros beyond the edge are seen by the outermost places of the first layer alone."""
    objective = Objective(
        content=(), style=(Tap("conv1_1"),), gram_normalize=GramParameter.HW, style_margin=margin
    )
    features = FeatureNet(tiny_net(), objective, tiny_weights(), backend)

    small, large = (
        features.capture_style([StylePicture(np.full((1, 3, *size), 40, np.float32))])[
            "gram_conv1_1"
        ]
        for size in ((8, 9), (20, 14))
    )

    assert np.allclose(small, large, rtol=1e-4) is (margin == 1)


def test_a_white_mask_of_the_style_and_none_agree_within_the_margin(backend: Backend) -> None:
    taps = (Tap("conv1_1"), Tap("conv2_1"))
    objective = Objective(content=(), style=taps, gram_normalize=GramParameter.HW, style_margin=1)
    features = FeatureNet(tiny_net(), objective, tiny_weights(), backend)
    style = pixels(16, 20, 3)

    plain, masked = (
        features.capture_style([StylePicture(style, mask=mask)])
        for mask in (None, np.ones((16, 20), np.float32))
    )

    for name in ("gram_conv1_1", "gram_conv2_1"):
        np.testing.assert_allclose(masked[name], plain[name], rtol=1e-4)
