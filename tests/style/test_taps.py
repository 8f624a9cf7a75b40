"""Layers found from a net's shape, for the nets that everybody uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tiny import tiny_net

from nst.errors import NetError
from nst.io.prototxt import parse_net, read_net
from nst.style.taps import default_content_tap, default_style_taps

MODELS = Path(__file__).resolve().parents[2] / "models"
GATYS = ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"]


@pytest.mark.parametrize("model", ["vgg19", "vgg16", "quickstart"])
def test_of_vgg_they_are_those_that_gatys_chose(model: str) -> None:
    net = read_net(MODELS / model / "net.prototxt")

    assert default_style_taps(net) == GATYS
    assert default_content_tap(net) == "conv4_2"


def test_where_modules_are_joined_only_their_ends_count() -> None:
    net = read_net(MODELS / "squeezenet_v1.0" / "net.prototxt")

    assert default_style_taps(net) == [
        *("conv1", "fire2/concat", "fire5/concat", "fire7/concat", "fire9/concat")
    ]
    assert default_content_tap(net) == "fire6/concat"


def test_of_googlenet_they_are_spread_over_its_depth() -> None:
    net = read_net(MODELS / "googlenet" / "net.prototxt")

    found = default_style_taps(net)

    assert found[0] == "conv1/7x7_s2"
    assert found[2:] == ["inception_3a/output", "inception_4a/output", "inception_5a/output"]
    assert default_content_tap(net) == "inception_3b/output"


def test_a_shallow_net_gives_what_it_has() -> None:
    assert default_style_taps(tiny_net()) == ["conv1_1", "conv2_1", "conv3_1"]
    assert default_content_tap(tiny_net()) == "conv3_2"


def test_a_net_without_feature_maps_is_refused() -> None:
    net = parse_net(
        'name: "flat" layer { name: "d" type: "Input" top: "d" input_param { shape { dim: [1, 3, 8, 8] } } }'
        'layer { name: "f" type: "InnerProduct" bottom: "d" top: "f" inner_product_param { num_output: 2 } }'
        'layer { name: "r" type: "ReLU" bottom: "f" top: "f" }'
    )

    with pytest.raises(NetError, match="net 'flat' has no feature maps behind a ReLU"):
        default_style_taps(net)
