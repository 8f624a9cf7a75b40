from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from nst.errors import FileError, PrototxtError
from nst.io.prototxt import (
    format_message,
    parse_message,
    parse_net,
    parse_solver,
    read_net,
    read_solver,
)
from nst.proto import (
    BlobProto,
    ConvolutionParameter,
    FillerParameter,
    NetParameter,
    NetState,
    PoolingParameter,
    SolverParameter,
)

LEGACY = Path(__file__).resolve().parents[1] / "data" / "legacy"

# Text that Caffe refuses: (file, line, column, words of ours).
REFUSED = [
    (
        "tf_err_bad_enum",
        1,
        57,
        "layer 'p': 'pool' has no value 'MIN'. Known are MAX, AVE, STOCHASTIC.",
    ),
    ("tf_err_dup_optional", 1, 19, "layer 'c': field 'name' is given twice"),
    ("tf_err_enum_quoted", 1, 41, "layer 'p': 'pool' takes a word without quotes (got \"MAX\")"),
    (
        "tf_err_int_overflow",
        1,
        51,
        "'num_output' is out of range (got 99999999999, expected 0..4294967295)",
    ),
    ("tf_err_missing_colon", 1, 14, "expected ':' after 'name'"),
    ("tf_err_missing_required", 1, 43, "layer 'c': 'clip_param' lacks the required 'max'"),
    ("tf_err_negative_uint", 1, 72, "'num_output' is out of range (got -3"),
    (
        "tf_err_string_unquoted",
        1,
        15,
        "'name' takes a string in quotes (got c). Write name: \"c\".",
    ),
    ("tf_err_type_as_string_v1", 1, 26, 'takes an unquoted word like CONVOLUTION (got "Pooling")'),
    (
        "tf_err_unknown_field",
        2,
        19,
        "layer 'x': LayerParameter has no field 'typo'. Did you mean 'type'?",
    ),
    ("tf_err_unterminated", 1, 7, "the string is not closed on its line"),
]

# Scalars that the text format of C++ protobuf takes: (field of FillerParameter or BlobProto, text, value).
REALS = [
    ("5.", 5.0),
    (".5", 0.5),
    ("1e-2f", 0.01),
    ("1f", 1.0),
    ("2.5E+1F", 25.0),
    ("- 3", -3.0),
    ("7", 7.0),
    ("inf", float("inf")),
    ("-Infinity", float("-inf")),
    ("123456789012345678901234567890", 1.2345678901234568e29),
]
INTEGERS = [
    ("0x1F", 31),
    ("010", 8),
    ("-0X10", -16),
    ("- 5", -5),
    ("0", 0),
    ("-2147483648", -(2**31)),
]
BOOLS = [("true", True), ("True", True), ("t", True), ("1", True), ("0x1", True)]
BOOLS += [("false", False), ("False", False), ("f", False), ("0", False)]
STRINGS = [
    (r'"a\tb\n\x41\101\?\'\"\\"', "a\tb\nAA?'\"\\"),
    ("'single \"double\"'", 'single "double"'),
    ('"one" \'two\'\n # words\n "three"', "onetwothree"),
    (r'"\u00e9\U0001F58C"', "é🖌"),
    ('"é"', "é"),
    ('""', ""),
]
WRONG_SCALARS = [
    ("num_output: 1.0", "takes a whole number (got 1.0)"),
    ("num_output: 08", "takes a whole number (got 08)"),
    ("num_output: 0x", "takes a whole number (got 0x)"),
    ("num_output: 4294967296", "out of range"),
    ("num_output: 10abc", "takes a whole number (got 10abc)"),
    ("num_output: " + "9" * 5000, "out of range (got 5000 digits)"),
    ("axis: -2147483649", "out of range"),
    ("bias_term: yes", "takes true or false (got yes)"),
    ("bias_term: 2", "out of range (got 2, expected 0..1)"),
    ("bias_term: -1", "takes true or false"),
    ("engine: 7", "'engine' has no value '7'"),
    ("engine: cudnn", "Did you mean 'CUDNN'?"),
    ("engine: -", "'engine' has no value"),
    ("weight_filler { value: 010 }", "takes a decimal number (got 010)"),
    ("weight_filler { value: 0x1 }", "takes a decimal number (got 0x1)"),
    ("weight_filler { value: 1..2 }", "takes a decimal number (got 1..2)"),
    ("weight_filler { value: 1.2.3 }", "takes a decimal number"),
    ("weight_filler { value: big }", "takes a decimal number (got big)"),
    ("weight_filler { type: xavier }", 'Write type: "xavier".'),
    (r'weight_filler { type: "\q" }', r"unknown escape '\q'"),
    (r'weight_filler { type: "\uD800" }', "unknown escape"),
    (r'weight_filler { type: "\xff" }', "'type' is not UTF-8"),
    ("weight_filler: 3", "expected '{' after 'weight_filler', found '3'"),
    ("weight_filler { value: 1 >", "expected the name of a field, found '>'"),
    ("weight_filler { value: 1", "'weight_filler' is not closed: expected '}'"),
    ("pad [1, 2]", "expected ':' after 'pad'"),
    ("pad: [1 2]", "expected ',' or ']' in 'pad'"),
    ("pad: [1,]", "takes a whole number (got ])"),
    ("pad: [1", "expected ',' or ']' in 'pad', found the end of the text"),
    ("num_output: [1]", "takes a whole number (got [)"),
    ("num_output: 1 ,, axis: 1", "expected the name of a field, found ','"),
    ("num_output:", "takes a whole number (got the end of the text)"),
    ("[ext]: 1", "expected the name of a field, found '['"),
    ("num_output: 1 num_output: 2", "'num_output' is given twice"),
    ("weight_filler {} weight_filler {}", "'weight_filler' is given twice"),
]
SPECIAL = st.sampled_from(
    [
        "layer",
        "name",
        "type",
        ":",
        "{",
        "}",
        "<",
        ">",
        "[",
        "]",
        ",",
        ";",
        '"x"',
        "'",
        '"',
        "\\",
        "#",
    ]
    + [
        "-",
        "1",
        "0x",
        "1e",
        ".",
        "nan",
        "true",
        "MAX",
        "pooling_param",
        "pool",
        "blobs",
        "data",
        "\n",
        " ",
    ]
)


def refused(text: str, kind: type = ConvolutionParameter) -> PrototxtError:
    with pytest.raises(PrototxtError) as caught:
        parse_message(text, kind)
    return caught.value


def test_every_form_of_the_grammar_reads_as_in_caffe() -> None:
    net = parse_net((LEGACY / "tf_syntax.in.prototxt").read_text(encoding="utf-8"))
    expected = (LEGACY / "tf_syntax.upgraded.prototxt").read_text(encoding="utf-8")
    # nan is not equal to itself, so the comparison is of the texts.
    assert format_message(net) == format_message(text_format.Parse(expected, NetParameter()))


@pytest.mark.parametrize(("name", "line", "column", "words"), REFUSED)
def test_what_caffe_refuses_is_refused_with_place_and_remedy(
    name: str, line: int, column: int, words: str
) -> None:
    text = (LEGACY / f"{name}.in.prototxt").read_text(encoding="utf-8")
    with pytest.raises(PrototxtError) as caught:
        parse_net(text, "net.prototxt")
    assert str(caught.value).startswith(f"net.prototxt:{line}:{column}: ")
    assert words in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(("text", "value"), REALS)
def test_reals_read_in_every_form(text: str, value: float) -> None:
    assert parse_message(f"double_data: {text}", BlobProto).double_data[0] == value


def test_nan_reads_with_and_without_a_sign() -> None:
    values = parse_message("double_data: [nan, -NAN]", BlobProto).double_data
    assert [value != value for value in values] == [True, True]


@pytest.mark.parametrize(("text", "value"), INTEGERS)
def test_integers_read_in_every_form(text: str, value: int) -> None:
    assert parse_message(f"level: {text}", NetState).level == value


@pytest.mark.parametrize(("text", "value"), BOOLS)
def test_booleans_read_in_every_form(text: str, value: bool) -> None:
    assert parse_message(f"bias_term: {text}", ConvolutionParameter).bias_term is value


@pytest.mark.parametrize(("text", "value"), STRINGS)
def test_strings_read_in_every_form(text: str, value: str) -> None:
    assert parse_message(f"type: {text}", FillerParameter).type == value


@pytest.mark.parametrize("text", ["pool: AVE", "pool: 1", "pool: 0x1", "pool : AVE ;", "pool:AVE,"])
def test_enums_read_by_name_and_number(text: str) -> None:
    assert parse_message(text, PoolingParameter).pool == PoolingParameter.AVE


@pytest.mark.parametrize(
    "text",
    [
        "shape { dim: 1 dim: 2 } shape { dim: 3 }",
        "shape: < dim: [1, 2] >, shape < dim: 3 >;",
        "shape: [ { dim: [1, 2] }, < dim: 3 > ]",
        "shape [ { dim: 1 dim: [2] } ] shape: { dim: 3 dim: [] }",
    ],
)
def test_messages_read_in_every_form(text: str) -> None:
    net = parse_message(f'layer {{ name: "x" input_param {{ {text} }} }}', NetParameter)
    assert [list(shape.dim) for shape in net.layer[0].input_param.shape] == [[1, 2], [3]]


@pytest.mark.parametrize(("text", "words"), WRONG_SCALARS)
def test_wrong_values_are_named(text: str, words: str) -> None:
    assert words in str(refused(text))


def test_empty_text_is_an_empty_net() -> None:
    assert parse_net(" # nothing\n") == NetParameter()


def test_a_field_of_an_inner_message_is_told_where_it_belongs() -> None:
    error = refused('layer { name: "c" kernel_size: 3 }', NetParameter)
    assert "layer 'c': LayerParameter has no field 'kernel_size'. It belongs into" in str(error)
    assert "convolution_param or pooling_param" in str(error)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("base_lr: 1", NetParameter, "It is a field of SolverParameter"),
        ("layer {}", SolverParameter, "It is a field of NetParameter"),
    ],
)
def test_the_other_kind_of_file_is_recognised(text: str, kind: type, words: str) -> None:
    assert words in str(refused(text, kind))


def test_unquoted_layer_types_are_explained() -> None:
    assert "or the old 'layers'" in str(refused("layer { type: CONVOLUTION }", NetParameter))


def test_a_byte_order_mark_and_foreign_comments_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"\xef\xbb\xbf# \xc0\xaf\xff in no encoding\nname: 'x'")
    assert read_net(path).name == "x"


def test_a_string_in_another_encoding_is_refused_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"\nname: '\xff'")
    with pytest.raises(PrototxtError, match="2:7: 'name' is not UTF-8"):
        read_net(path)


@pytest.mark.parametrize("read", [read_net, read_solver])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    for path in (tmp_path / "none.prototxt", tmp_path):
        with pytest.raises(FileError, match="cannot be read"):
            read(path)


def test_solver_text_reads_with_its_style_block() -> None:
    solver = parse_solver(
        'type: "LBFGS" style_transfer_param { preset: "gatys" init { from: NOISE }'
        ' style { image: "a.jpg" layer { name: "conv1_1" weight: 0.2 } } }'
    )
    assert solver.style_transfer_param.style[0].layer[0].weight == 0.2


def test_deep_and_long_texts_neither_hang_nor_recurse() -> None:
    assert "has no field" in str(refused("layer {" * 100_000, NetParameter))
    assert "expected '{'" in str(refused("layer [" * 100_000, NetParameter))
    assert len(parse_message("layer {} " * 20_000, NetParameter).layer) == 20_000
    assert "not closed" in str(refused('name: "' + "\\" * 200_001, NetParameter))


@given(st.text() | st.lists(SPECIAL | st.text(max_size=4), max_size=60).map(" ".join))
def test_any_text_reads_or_is_refused_with_a_place(text: str) -> None:
    try:
        parse_net(text)
    except PrototxtError as error:
        assert str(error).startswith("<text>")


@given(st.binary(max_size=200))
def test_string_bytes_survive_printing_and_reading(data: bytes) -> None:
    text = data.decode("latin-1")
    net = NetParameter(name=text, input=[text])
    assert parse_message(format_message(net), NetParameter) == net


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_floats_survive_printing_and_reading(values: list[float]) -> None:
    blob = BlobProto(data=values)
    assert parse_message(format_message(blob), BlobProto) == blob


@pytest.mark.parametrize("number", [0, 1, -1, 2**31 - 1, -(2**31)])
def test_integers_survive_printing_and_reading(number: int) -> None:
    state = NetState(level=number)
    assert parse_message(format_message(state), NetState) == state


@pytest.mark.parametrize("name", ["v1_vgg_small", "v0_convnet", "v1_shared_params"])
@pytest.mark.parametrize(
    "style",
    [
        {"as_one_line": True},
        {"use_short_repeated_primitives": True, "as_one_line": True},
        {"pointy_brackets": True},
        {"use_index_order": True, "as_utf8": True},
        {"force_colon": True},
    ],
)
def test_every_way_in_which_protobuf_prints_reads_back(name: str, style: dict[str, bool]) -> None:
    text = (LEGACY / f"{name}.in.prototxt").read_text(encoding="utf-8")
    net = text_format.Parse(text, NetParameter())
    assert parse_message(text_format.MessageToString(net, **style), NetParameter) == net


def test_our_reading_agrees_with_protobufs_own_on_the_founders_texts(shared: Path) -> None:
    paths = [*shared.glob("oracle/layers/*.prototxt"), *shared.glob("models/*/*.prototxt")]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert parse_message(text, NetParameter) == text_format.Parse(text, NetParameter()), path
    assert len(paths) > 100
