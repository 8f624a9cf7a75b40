"""Net passes: prototxt in, prototxt out."""

from __future__ import annotations

import pytest

from nst.errors import NetError
from nst.io.prototxt import format_message, parse_net
from nst.net import filter_layers, insert_splits
from nst.proto import TEST, TRAIN, NetParameter, NetState


def pass_gives(text: str, expected: str) -> None:
    net = parse_net(text)
    before = net.SerializeToString()

    result = insert_splits(net)

    assert format_message(result) == format_message(parse_net(expected))
    assert net.SerializeToString() == before  # the argument is untouched
    assert insert_splits(result) == result  # and the pass is idempotent


def test_a_blob_with_one_reader_needs_no_split() -> None:
    text = """
    layer { name: "data" type: "Input" top: "x" }
    layer { name: "a" type: "ReLU" bottom: "x" top: "y" }
    """
    pass_gives(text, text)


def test_two_readers_get_a_split_named_as_caffe_names_it() -> None:
    pass_gives(
        """
        layer { name: "data" type: "Input" top: "x" }
        layer { name: "a" type: "ReLU" bottom: "x" top: "y" }
        layer { name: "b" type: "ReLU" bottom: "x" top: "z" }
        """,
        """
        layer { name: "data" type: "Input" top: "x" }
        layer { name: "x_data_0_split" type: "Split" bottom: "x"
                top: "x_data_0_split_0" top: "x_data_0_split_1" }
        layer { name: "a" type: "ReLU" bottom: "x_data_0_split_0" top: "y" }
        layer { name: "b" type: "ReLU" bottom: "x_data_0_split_1" top: "z" }
        """,
    )


def test_the_last_in_place_writer_is_the_producer() -> None:
    pass_gives(
        """
        layer { name: "data" type: "Input" top: "x" }
        layer { name: "r" type: "ReLU" bottom: "x" top: "x" }
        layer { name: "a" type: "ReLU" bottom: "x" top: "y" }
        layer { name: "b" type: "ReLU" bottom: "x" top: "z" }
        """,
        """
        layer { name: "data" type: "Input" top: "x" }
        layer { name: "r" type: "ReLU" bottom: "x" top: "x" }
        layer { name: "x_r_0_split" type: "Split" bottom: "x"
                top: "x_r_0_split_0" top: "x_r_0_split_1" }
        layer { name: "a" type: "ReLU" bottom: "x_r_0_split_0" top: "y" }
        layer { name: "b" type: "ReLU" bottom: "x_r_0_split_1" top: "z" }
        """,
    )


def test_a_loss_weight_counts_as_a_reader_and_moves_to_the_first_split_top() -> None:
    pass_gives(
        """
        layer { name: "data" type: "Input" top: "x" }
        layer { name: "a" type: "Power" bottom: "x" top: "y" loss_weight: 3 }
        layer { name: "b" type: "ReLU" bottom: "y" top: "z" }
        """,
        """
        layer { name: "data" type: "Input" top: "x" }
        layer { name: "a" type: "Power" bottom: "x" top: "y" }
        layer { name: "y_a_0_split" type: "Split" bottom: "y"
                top: "y_a_0_split_0" top: "y_a_0_split_1" loss_weight: 3 loss_weight: 0 }
        layer { name: "b" type: "ReLU" bottom: "y_a_0_split_1" top: "z" }
        """,
    )


def test_an_unknown_bottom_is_named_with_the_nearest_blob() -> None:
    net = parse_net(
        """
        layer { name: "data" type: "Input" top: "conv1" }
        layer { name: "y" type: "ReLU" bottom: "conv2" top: "y" }
        """
    )

    with pytest.raises(
        NetError,
        match=r"Unknown bottom blob 'conv2' \(layer 'y', bottom index 0\).*Did you mean 'conv1'",
    ):
        insert_splits(net)


RULES = {
    "phase": ("include { phase: TRAIN }", {"phase": TRAIN}, {"phase": TEST}),
    "min_level": ("include { min_level: 2 }", {"level": 2}, {"level": 1}),
    "max_level": ("include { max_level: 2 }", {"level": 2}, {"level": 3}),
    "all stages": (
        'include { stage: "a" stage: "b" }',
        {"stage": ["b", "a", "c"]},
        {"stage": ["a"]},
    ),
    "not_stage": ('include { not_stage: "a" }', {"stage": ["b"]}, {"stage": ["a", "b"]}),
    "any include": (
        "include { phase: TRAIN } include { min_level: 3 }",
        {"phase": TEST, "level": 3},
        {"phase": TEST, "level": 2},
    ),
    "exclude": ('exclude { stage: "a" }', {}, {"stage": ["a"]}),
    "any exclude": (
        'exclude { stage: "a" } exclude { phase: TRAIN }',
        {"phase": TEST},
        {"phase": TRAIN},
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_layer_is_kept_exactly_when_its_rules_fit_the_state(rule: str) -> None:
    text, fitting, unfitting = RULES[rule]
    net = parse_net(f'layer {{ name: "a" type: "Input" top: "x" {text} }}')

    kept = filter_layers(net, NetState(**fitting))
    dropped = filter_layers(net, NetState(**unfitting))

    assert [layer.name for layer in kept.layer] == ["a"]
    assert not dropped.layer
    assert len(net.layer) == 1


def test_include_and_exclude_together_are_refused() -> None:
    net = NetParameter()
    layer = net.layer.add(name="a", type="Input")
    layer.include.add()
    layer.exclude.add()

    with pytest.raises(NetError, match="layer 'a': Specify either include rules or exclude rules"):
        filter_layers(net, NetState())
