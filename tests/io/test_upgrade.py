from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst.errors import PrototxtError
from nst.io.prototxt import parse_message, parse_net, parse_solver, read_net, read_solver
from nst.io.type_names import CAFFE_TYPES, LAYER_TYPES, SOLVER_TYPES, canonical_type
from nst.io.upgrade import upgrade_net, upgrade_solver
from nst.proto import NetParameter, SolverParameter, V1LayerParameter

LEGACY = Path(__file__).resolve().parents[1] / "data" / "legacy"
NETS = [
    "v0_convnet",
    "v0_data_layers",
    "v1_shared_params",
    "v1_type_by_number",
    "v1_vgg_small",
    "v2_input_dim",
    "v2_uptodate",
]
REFUSED = [
    (
        "v0_padding_bad_consumer",
        "layer 'r': reads the padding layer 'p', which only conv and pool can",
    ),
    ("v0_unknown_type", "unknown type 'frobnicate'"),
    ("v1_and_v2_mixed", "has both 'layer' (1) and 'layers' (1)"),
]
# Binary nets of every form, each with what the real Caffe made of it.
BINARIES = [
    "v0",
    "v1_genuine_like",
    "v1_inputname",
    "v1_newshape",
    "v1_with_diff",
    "v2_double",
    "bad_shape",
]
BATCH_NORM = (
    'layer { name: "b" type: "BATCHNORM" param { lr_mult: 2 } param { name: "v" } param {} }'
)


@pytest.fixture
def warnings_of(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, logger="nst.io"):
        yield caplog


def text_of(name: str) -> str:
    return (LEGACY / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NETS)
def test_old_nets_come_out_as_from_caffes_upgrade_tool(name: str) -> None:
    expected = parse_message(text_of(f"{name}.upgraded.prototxt"), NetParameter)
    assert read_net(LEGACY / f"{name}.in.prototxt") == expected


@pytest.mark.parametrize("name", NETS)
def test_upgraded_nets_stay_as_they_are(name: str, warnings_of: pytest.LogCaptureFixture) -> None:
    net = parse_message(text_of(f"{name}.upgraded.prototxt"), NetParameter)
    assert upgrade_net(net) == net
    assert warnings_of.messages == []


@pytest.mark.parametrize("name", BINARIES)
def test_old_binary_nets_come_out_as_from_caffes_upgrade_tool(shared: Path, name: str) -> None:
    old = (shared / "oracle" / "legacy" / f"{name}.caffemodel").read_bytes()
    new = (shared / "oracle" / "legacy" / f"{name}.upgraded.caffemodel").read_bytes()
    assert upgrade_net(NetParameter.FromString(old)) == NetParameter.FromString(new)


@pytest.mark.parametrize(("name", "words"), REFUSED)
def test_nets_that_contradict_themselves_are_refused(name: str, words: str) -> None:
    with pytest.raises(PrototxtError) as caught:
        read_net(LEGACY / f"{name}.in.prototxt")
    assert words in str(caught.value)
    assert f"{name}.in.prototxt" in str(caught.value)


@pytest.mark.parametrize("name", NETS)
def test_the_argument_is_left_as_it_is(name: str) -> None:
    net = parse_message(text_of(f"{name}.in.prototxt"), NetParameter)
    before = net.SerializeToString(deterministic=True)
    upgrade_net(net)
    assert net.SerializeToString(deterministic=True) == before


def test_what_was_old_is_logged_once(warnings_of: pytest.LogCaptureFixture) -> None:
    read_net(LEGACY / "v0_convnet.in.prototxt")
    assert len(warnings_of.messages) == 1
    assert "(V0)" in warnings_of.messages[0]
    assert "(V1)" in warnings_of.messages[0]
    assert "input fields" in warnings_of.messages[0]


def test_a_v0_setting_of_another_type_is_left_out_with_a_warning(
    warnings_of: pytest.LogCaptureFixture,
) -> None:
    net = parse_net(
        'layers { layer { name: "r" type: "relu" num_output: 3 } top: "r" }', "x.prototxt"
    )
    assert [layer.type for layer in net.layer] == ["ReLU"]
    assert (
        "x.prototxt: layer 'r': type 'relu' has no 'num_output', left out" in warnings_of.messages
    )


def test_v0_and_v1_layers_in_one_net_are_refused() -> None:
    text = 'layers { layer { name: "r" type: "relu" } } layers { name: "s" type: RELU }'
    with pytest.raises(PrototxtError, match="layer 's': stands among layers of the form of 2013"):
        parse_net(text)


def test_v0_layers_that_read_what_nobody_writes_are_refused() -> None:
    with pytest.raises(PrototxtError, match="layer 'r': unknown bottom blob 'x'"):
        parse_net('layers { layer { name: "r" type: "relu" } bottom: "x" }')


def test_every_v1_type_has_a_current_name() -> None:
    words = [word for word in V1LayerParameter.LayerType.keys() if word != "NONE"]  # noqa: SIM118
    text = " ".join(f"layers {{ type: {word} }}" for word in words)
    types = [layer.type for layer in parse_net(text).layer]
    assert set(types) <= set(CAFFE_TYPES)
    assert len(set(types)) == 39


def test_a_v1_layer_of_no_type_comes_out_without_one() -> None:
    assert [layer.type for layer in parse_net("layers { type: NONE } layers {}").layer] == ["", ""]


def test_lists_of_different_lengths_make_as_many_param_blocks_as_the_longest() -> None:
    net = parse_net(
        'layers { type: CONVOLUTION blobs_lr: 2 weight_decay: [3, 0] param: ["", "", "b"] }'
    )
    specs = [(spec.name, spec.lr_mult, spec.decay_mult) for spec in net.layer[0].param]
    assert specs == [("", 2.0, 3.0), ("", 1.0, 0.0), ("b", 1.0, 1.0)]


def test_data_transforms_move_out_of_the_old_data_layers() -> None:
    net = parse_net(
        'layers { type: IMAGE_DATA image_data_param { source: "s" scale: 2 mirror: true } }'
    )
    assert net.layer[0].transform_param.scale == 2
    assert net.layer[0].transform_param.mirror
    assert not net.layer[0].image_data_param.HasField("scale")


def test_inputs_without_shapes_are_dropped() -> None:
    net = parse_net('input: "data" layer { name: "r" type: "ReLU" bottom: "data" top: "r" }')
    assert [layer.name for layer in net.layer] == ["r"]
    assert list(net.input) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('input: "a" input: "b" input_shape { dim: 1 }', "(got 1, expected 2)"),
        ('input: "a" input_dim: [1, 2, 3]', "(got 3, expected 4)"),
    ],
)
def test_inputs_with_too_few_shapes_are_refused(text: str, words: str) -> None:
    with pytest.raises(PrototxtError) as caught:
        parse_net(text)
    assert words in str(caught.value)


def test_batch_norm_with_three_params_learns_none_of_them() -> None:
    net = parse_net(BATCH_NORM)
    specs = [(spec.name, spec.lr_mult, spec.decay_mult) for spec in net.layer[0].param]
    assert specs == [("", 0.0, 0.0), ("v", 0.0, 0.0), ("", 0.0, 0.0)]


def test_batch_norm_with_two_params_is_left_alone() -> None:
    net = parse_net('layer { type: "BatchNorm" param { lr_mult: 2 } param {} }')
    assert [spec.lr_mult for spec in net.layer[0].param] == [2.0, 1.0]


def test_settings_that_only_mycaffe_has_are_dropped(warnings_of: pytest.LogCaptureFixture) -> None:
    text = 'layer { name: "c" freeze_learning: false convolution_param { %s num_output: 2 } }'
    plain = parse_net('layer { name: "c" convolution_param { num_output: 2 } }')
    assert parse_net(text % "cudnn_workspace_limit: 1048576") == plain
    assert "settings that only MyCaffe has" in warnings_of.messages[0]


def test_frozen_layers_of_mycaffe_are_refused() -> None:
    with pytest.raises(PrototxtError, match="layer 'c': 'freeze_learning: true' is MyCaffe's"):
        parse_net('layer { name: "c" freeze_learning: true }')


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("EUCLIDEAN_LOSS", "EuclideanLoss"),
        ("euclideanloss", "EuclideanLoss"),
        ("SOFTMAX_LOSS", "SoftmaxWithLoss"),
        ("tv_loss", "TVLoss"),
        ("HDF5_DATA", "HDF5Data"),
        ("relu", "ReLU"),
        ("MyLayer", "MyLayer"),
        ("", ""),
    ],
)
def test_types_match_in_any_case_and_with_underscores(word: str, expected: str) -> None:
    assert canonical_type(word, LAYER_TYPES) == expected


@given(st.sampled_from(LAYER_TYPES))
def test_no_spelling_of_a_type_finds_another(name: str) -> None:
    scattered = "_".join(name).swapcase()
    assert canonical_type(scattered, LAYER_TYPES) == name


def test_solver_type_enum_comes_out_as_from_caffes_upgrade_tool() -> None:
    expected = parse_message(text_of("solver_type_enum.upgraded.prototxt"), SolverParameter)
    assert read_solver(LEGACY / "solver_type_enum.in.prototxt") == expected


@pytest.mark.parametrize(
    ("word", "expected"), list(zip(SolverParameter.SolverType.keys(), SOLVER_TYPES, strict=False))
)
def test_every_old_solver_type_has_a_current_name(word: str, expected: str) -> None:
    assert parse_solver(f"solver_type: {word}").type == expected


@pytest.mark.parametrize(
    ("word", "expected"), [("LBGFS", "LBFGS"), ("adam", "Adam"), ("Foo", "Foo")]
)
def test_solver_types_match_in_any_case_and_in_mycaffes_spelling(word: str, expected: str) -> None:
    assert parse_solver(f'type: "{word}"').type == expected


def test_mycaffes_spelling_of_the_corrections_is_taken() -> None:
    solver = parse_solver("lbgfs_corrections: 7")
    assert solver.lbfgs_corrections == 7
    assert not solver.HasField("lbgfs_corrections")


@pytest.mark.parametrize(
    "text", ['solver_type: SGD type: "SGD"', "lbgfs_corrections: 7 lbfgs_corrections: 7"]
)
def test_both_spellings_at_once_are_refused(text: str) -> None:
    with pytest.raises(PrototxtError, match="are both given"):
        parse_solver(text)


def test_nets_inside_a_solver_are_upgraded_too() -> None:
    layers = "{ layers { type: RELU } }"
    solver = parse_solver(f"net_param {layers} train_net_param {layers} test_net_param {layers}")
    nets = [solver.net_param, solver.train_net_param, *solver.test_net_param]
    assert [[layer.type for layer in net.layer] for net in nets] == [["ReLU"]] * 3


def test_the_solver_argument_is_left_as_it_is() -> None:
    solver = SolverParameter(solver_type=SolverParameter.ADAM, lbgfs_corrections=3)
    before = solver.SerializeToString(deterministic=True)
    upgrade_solver(solver)
    assert solver.SerializeToString(deterministic=True) == before
