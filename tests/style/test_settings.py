"""Flags over file over preset, field by field."""

from __future__ import annotations

import pytest

from nst.errors import UsageError
from nst.io.prototxt import parse_solver
from nst.proto import StyleTransferParameter
from nst.style.presets import find_preset, preset_names
from nst.style.settings import merged, with_preset

FILE = """
net: "n.prototxt" weights: "w" type: "ADAM" max_iter: 7
style_transfer_param {
  preset: "johnson"
  content { image: "a.png" layer { name: "conv3_1" } }
  style { image: "b.png" } style { image: "c.png" layer { name: "x" weight: 3 } }
  tv_weight: 0.5 transform_param { mean_value: 1 }
}
"""


def test_a_preset_named_in_the_file_fills_in_what_the_file_leaves_unset() -> None:
    settings = with_preset(parse_solver(FILE), parse_solver(""))
    style = settings.style_transfer_param

    assert (settings.type, settings.max_iter, style.tv_weight) == ("Adam", 7, 0.5)  # the file
    assert (style.content_weight, style.style_weight) == (5, 100)  # the preset
    assert [layer.name for layer in style.content.layer] == ["conv3_1"]


def test_a_style_without_taps_takes_those_of_the_preset() -> None:
    style = with_preset(parse_solver(FILE), parse_solver("")).style_transfer_param

    assert [layer.weight for layer in style.style[0].layer] == [1] * 5
    assert [(layer.name, layer.weight) for layer in style.style[1].layer] == [("x", 3)]


def test_flags_win_over_everything() -> None:
    flags = parse_solver(
        'max_iter: 9 style_transfer_param { style_weight: 2 style { image: "z.png" } }'
    )

    settings = with_preset(parse_solver(FILE), flags)

    style = settings.style_transfer_param
    assert (settings.max_iter, style.style_weight) == (9, 2)
    assert [term.image for term in style.style] == ["z.png"]
    assert style.style[0].layer[0].weight == 1


def test_one_size_above_replaces_a_schedule_below() -> None:
    under = parse_solver("max_iter: 9 style_transfer_param { sizes: [64, 128] iterations: [5, 4] }")

    settings = merged(under, parse_solver("style_transfer_param { size: 300 }"))

    assert settings == parse_solver("max_iter: 9 style_transfer_param { size: 300 }")


def test_max_iter_above_replaces_the_iterations_per_size_below() -> None:
    under = parse_solver("max_iter: 9 style_transfer_param { sizes: [64, 128] iterations: [5, 4] }")

    settings = merged(under, parse_solver("max_iter: 3"))

    assert settings == parse_solver("max_iter: 3 style_transfer_param { sizes: [64, 128] }")


def test_a_preset_named_by_a_flag_starts_over_but_keeps_model_and_pictures() -> None:
    flags = parse_solver('style_transfer_param { preset: "gatys" }')

    settings = with_preset(parse_solver(FILE), flags)

    style = settings.style_transfer_param
    assert (settings.net, settings.weights[0], settings.type) == ("n.prototxt", "w", "LBFGS")
    assert (style.preset, style.tv_weight, style.style_weight) == ("gatys", 0, 1000)
    assert (style.content.image, list(style.transform_param.mean_value)) == ("a.png", [1])


def test_a_preset_named_by_a_flag_says_how_much_the_taps_of_the_file_weigh() -> None:
    file = parse_solver(
        'style_transfer_param { content { layer { name: "a" weight: 7 } } style { '
        'layer { name: "conv1_1" weight: 7 } layer { name: "b" weight: 7 statistic: W2 } } }'
    )

    style = with_preset(
        file, parse_solver('style_transfer_param { preset: "gatys" }')
    ).style_transfer_param

    assert [(layer.name, layer.weight) for layer in style.content.layer] == [("a", 1)]
    assert [(layer.name, layer.weight) for layer in style.style[0].layer] == [
        ("conv1_1", 0.2),
        ("b", 0.2),
    ]
    assert not style.style[0].layer[1].HasField("statistic")


def test_one_size_above_keeps_the_iterations_of_a_ladder_of_sizes() -> None:
    under = parse_solver("style_transfer_param { coarsest_size: 64 iterations: [5, 4] }")

    settings = merged(under, parse_solver("style_transfer_param { size: 300 }"))

    assert list(settings.style_transfer_param.iterations) == [5, 4]


def test_a_preset_without_names_weighs_the_taps_of_the_file_by_their_place() -> None:
    file = parse_solver(
        'style_transfer_param { style { layer { name: "a" weight: 7 } layer { name: "b" } } }'
    )

    style = with_preset(
        file, parse_solver('style_transfer_param { preset: "crowson" }')
    ).style_transfer_param

    weights = [(layer.name, layer.weight) for layer in style.style[0].layer]
    assert weights == [
        ("a", pytest.approx(256 / 341, rel=1e-4)),
        ("b", pytest.approx(64 / 341, rel=1e-4)),
    ]


def test_merging_changes_neither_argument() -> None:
    under, over = parse_solver(FILE), parse_solver("max_iter: 1")
    before = (under.SerializeToString(), over.SerializeToString())

    merged(under, over)

    assert (under.SerializeToString(), over.SerializeToString()) == before


def test_an_unknown_preset_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"preset: unknown \(got 'gatis'.*Did you mean 'gatys'"):
        find_preset("gatis")


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_parses_and_says_what_it_is_bound_to(name: str) -> None:
    preset = find_preset(name)

    style = preset.settings.style_transfer_param
    names_layers = any(layer.name for term in style.style for layer in term.layer)
    assert "vgg19" in preset.bound_to or not preset.bound_to
    assert preset.bound_to or not names_layers  # layer names belong to a net


def test_the_mycaffe_preset_is_version_0_10_0_190_to_the_letter() -> None:
    # SOURCE: MyCaffe.extras/NeuralStyleTransfer.cs, commit ce016f9a
    settings = find_preset("mycaffe").settings
    style = settings.style_transfer_param

    assert (settings.base_lr, settings.lbfgs_corrections) == (1.5, 100)
    assert (style.gram_scale, style.content_scale, style.content_weight) == (1e-4, 1e-4, 1e-4)
    assert not style.exact_gradient
    assert style.style_loss == StyleTransferParameter.CHANNELS_POW4
    assert [layer.weight for layer in style.style[0].layer] == [0.2] * 5
    assert style.style[0].stretch
