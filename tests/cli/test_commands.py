"""The commands of `nst` besides solve, train, test and weights."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from support.tiny import picture

from nst.backend import get_backend
from nst.cli import draw as draw_module
from nst.cli.main import COMMANDS, main
from nst.io.binaryproto import read_binaryproto
from nst.io.picture_output import write_picture
from nst.io.prototxt import parse_solver, read_net
from nst.layers import LAYERS
from nst.layers.sources.database import RecordReader, decode_datum
from nst.proto import NetParameter
from nst.pycaffe import Net
from nst.style.presets import preset_names

SOURCE = Path(__file__).resolve().parents[2] / "src"
Captured = pytest.CaptureFixture[str]


def nst(*words: object) -> int:
    return main([str(word) for word in words])


def test_help_names_every_command_and_imports_none() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from nst.cli.main import main; main(['--help']); "
        "print([name for name in sys.modules if name.startswith(('rich', 'pydot', 'matplotlib'))])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(SOURCE)], capture_output=True, text=True, check=True
    ).stdout
    assert all(name in out for name in COMMANDS)
    assert out.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: Captured) -> None:
    assert nst(command, "--help") == 0
    assert f"usage: nst {command}" in capsys.readouterr().out


def test_version_is_printed(capsys: Captured) -> None:
    assert nst("--version") == 0
    assert re.fullmatch(r"nst \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


# ---- looking -------------------------------------------------------------------------------------


def test_info_tells_versions_backends_and_models(capsys: Captured) -> None:
    assert nst("info") == 0
    out = capsys.readouterr().out
    for name in ("numpy", "protobuf", "pillow", "h5py", "quickstart", "vgg19", "cache"):
        assert re.search(rf"^  {name} +\S", out, re.MULTILINE), name
    assert re.search(r"^  numpy +yes: plain numpy", out, re.MULTILINE)


def test_info_says_how_to_get_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    monkeypatch.setenv("NST_CACHE", str(tmp_path))
    nst("info")
    assert "nst weights fetch vgg19 (575 MB)" in capsys.readouterr().out


def test_device_names_the_processor_and_backends(capsys: Captured) -> None:
    assert nst("device") == 0
    out = capsys.readouterr().out
    assert out.startswith("cpu: ")
    assert "backend numpy: yes" in out


def test_device_refuses_a_gpu_that_is_not_there(capsys: Captured) -> None:
    assert nst("device", "-gpu", "77") == 2
    assert "no such GPU (got '77'" in capsys.readouterr().err


@pytest.mark.parametrize("name", preset_names())
def test_a_printed_preset_is_a_solver_file(name: str, capsys: Captured) -> None:
    nst("presets", name)
    settings = parse_solver(capsys.readouterr().out)
    assert settings.HasField("style_transfer_param")


def test_presets_prints_all(capsys: Captured) -> None:
    nst("presets")
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("# ----")] == [
        f"# ---- preset {name}" for name in preset_names()
    ]


def test_layers_lists_every_type_with_a_line(capsys: Captured) -> None:
    nst("layers")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [layer.type for layer in LAYERS]
    assert all(len(line.split()) > 2 for line in lines)


def test_layers_explains_one_type_in_any_spelling(capsys: Captured) -> None:
    nst("layers", "EUCLIDEAN_LOSS")
    assert "Formula" in capsys.readouterr().out


# ---- drawing -------------------------------------------------------------------------------------


def dot_of(*words: object) -> str:
    assert nst("draw", *words, "net.dot") == 0
    return Path("net.dot").read_text()


def test_a_net_becomes_boxes_and_arrows(workshop: Path) -> None:
    dot = dot_of("net.prototxt")
    assert '"conv1_1\\nConvolution 3x3, 6\\nrelu1_1  ReLU"' in dot
    layers = read_net("net.prototxt").layer
    assert dot.count("->") == sum("relu" not in layer.name for layer in layers) - 1


def test_splits_are_drawn_only_when_asked_for(workshop: Path) -> None:
    words = ("solver.prototxt", "--augmented")
    assert "_split" not in dot_of(*words)
    assert "conv1_1_relu1_1_0_split" in dot_of(*words, "--splits")


def test_the_augmented_net_has_its_layers_in_colour(workshop: Path) -> None:
    dot = dot_of("solver.prototxt", "--augmented")
    for name, colour in (
        ("input1", "#93c47d"),
        ("gram_conv1_1", "#76d7c4"),
        ("input_gram_conv1_1", "#ffe599"),
        ("event_gram_conv1_1", "#d7bde2"),
        ("loss_gram_conv1_1", "#f1948a"),
    ):
        assert re.search(rf'label="{name}\\n[^"]*", fillcolor="{colour}"', dot), name


def test_the_augmented_net_needs_no_pictures_and_no_weights(workshop: Path) -> None:
    for name in ("town.png", "waves.png", "tiny.caffemodel"):
        (workshop / name).unlink()
    assert "gram_conv2_1" in dot_of("solver.prototxt", "--augmented")


def test_shapes_stand_on_the_arrows(workshop: Path) -> None:
    assert 'label="1x3x18x24"' in dot_of("solver.prototxt", "--augmented", "--shapes")


def test_a_solver_file_is_drawn_as_its_net(workshop: Path) -> None:
    assert "conv3_2" in dot_of("solver.prototxt")


def test_a_phase_leaves_out_the_layers_of_the_other(workshop: Path) -> None:
    Path("two.prototxt").write_text(
        'layer { name: "a" type: "DummyData" top: "x" include { phase: TRAIN } }'
        'layer { name: "b" type: "DummyData" top: "x" include { phase: TEST } }'
    )
    dot = dot_of("two.prototxt", "--phase", "TEST")
    assert '"b\\nDummyData"' in dot
    assert '"a\\nDummyData"' not in dot


def test_names_with_quotes_do_not_break_the_drawing(workshop: Path) -> None:
    Path("odd.prototxt").write_text(
        """layer { name: 'say "x"' type: "DummyData" top: "x" } name: 'the "net"'"""
    )
    assert '\\"x\\"' in dot_of("odd.prototxt")


@pytest.mark.skipif(not shutil.which("dot"), reason="needs Graphviz's program dot")
@pytest.mark.parametrize(
    ("kind", "head"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")]
)
def test_graphviz_renders(kind: str, head: bytes, workshop: Path) -> None:
    assert nst("draw", "net.prototxt", f"net.{kind}") == 0
    assert Path(f"net.{kind}").read_bytes().startswith(head)


def test_a_missing_graphviz_is_named(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(draw_module.shutil, "which", lambda name: None)
    assert nst("draw", "net.prototxt", "net.svg") == 2
    assert "package graphviz" in capsys.readouterr().err
    assert nst("draw", "net.prototxt", "net.dot") == 0


def test_a_missing_pydot_is_named(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setitem(sys.modules, "pydot", None)
    assert nst("draw", "net.prototxt", "net.dot") == 2
    assert "pip install 'nst-caffe[draw]'" in capsys.readouterr().err


def test_an_unknown_picture_format_is_named(workshop: Path, capsys: Captured) -> None:
    assert nst("draw", "net.prototxt", "net.jpeg") == 2
    assert "unknown format (got 'jpeg'" in capsys.readouterr().err


# ---- upgrading -----------------------------------------------------------------------------------

V1 = """
name: "old" input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "r" type: RELU bottom: "data" top: "r" }
"""


def test_an_old_net_is_upgraded_and_told(workshop: Path, capsys: Captured) -> None:
    Path("old.prototxt").write_text(V1)
    assert nst("upgrade", "old.prototxt", "new.prototxt") == 0
    captured = capsys.readouterr()
    assert "layers' instead of 'layer' (V1)" in captured.err
    net = read_net("new.prototxt")
    assert [layer.type for layer in net.layer] == ["Input", "ReLU"]
    assert "layers {" not in Path("new.prototxt").read_text()


def test_an_old_solver_is_upgraded(workshop: Path, capsys: Captured) -> None:
    Path("old.prototxt").write_text('net: "n" solver_type: ADAM')
    nst("upgrade", "old.prototxt", "-")
    assert parse_solver(capsys.readouterr().out).type == "Adam"


def test_a_binary_net_stays_binary_or_becomes_text(workshop: Path) -> None:
    nst("upgrade", "tiny.caffemodel", "new.caffemodel")
    assert NetParameter.FromString(Path("new.caffemodel").read_bytes()).name == "tiny"
    nst("upgrade", "tiny.caffemodel", "new.prototxt")
    assert read_net("new.prototxt").name == "tiny"


def test_an_upgrade_never_overwrites_its_source(workshop: Path, capsys: Captured) -> None:
    assert nst("upgrade", "net.prototxt", "net.prototxt") == 2
    assert "would overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"layer { nam: 1 }", b"\0\1\2garbage", b"\x89PNG\0"])
def test_what_is_no_net_is_refused(content: bytes, workshop: Path, capsys: Captured) -> None:
    Path("x").write_bytes(content)
    assert nst("upgrade", "x", "y") == 2
    assert capsys.readouterr().err.count("\n") == 1


# ---- time and extract ----------------------------------------------------------------------------


def test_time_has_a_row_per_layer_and_sums(workshop: Path, capsys: Captured) -> None:
    assert nst("time", "-model", "net.prototxt", "-iterations", "2", "--force-backward") == 0
    out = capsys.readouterr().out
    row = re.search(r"^conv1_1 +Convolution +1x6x16x16 +(\S+) +(\S+)$", out, re.MULTILINE)
    assert row is not None
    assert float(row.group(1)) > 0
    assert float(row.group(2)) > 0
    forward = [float(x) for x in re.findall(r"\d+x\S+ +(\d+\.\d+)", out)]
    total = re.search(r"Average Forward pass: (\S+) ms", out)
    assert total is not None
    assert float(total.group(1)) == pytest.approx(sum(forward), abs=0.02)


def test_time_can_leave_out_the_backward_pass(workshop: Path, capsys: Captured) -> None:
    nst("time", "--model", "net.prototxt", "--iterations", "1", "--forward-only")
    assert "ackward" not in capsys.readouterr().out


def test_a_net_without_a_loss_is_told_to_need_no_backward_pass(
    workshop: Path, capsys: Captured
) -> None:
    nst("time", "-model", "net.prototxt", "-iterations", "1")
    assert "--force-backward" in capsys.readouterr().out


def test_a_frozen_layer_has_no_backward_time(workshop: Path, capsys: Captured) -> None:
    nst("time", "-model", "net.prototxt", "-iterations", "1", "-phase", "TEST")
    assert re.search(r"^data +Input +\S+ +\S+ +-$", capsys.readouterr().out, re.MULTILINE)


FED = """
layer { name: "data" type: "DummyData" top: "data" dummy_data_param {
  shape { dim: 2 dim: 3 dim: 16 dim: 16 } data_filler { type: "constant" value: 7 } } }
"""


def test_extract_writes_blobs_of_every_batch_to_hdf5(workshop: Path) -> None:
    net = Path("net.prototxt").read_text()
    body = net[net.index("layer {", net.index("layer {") + 1) :]
    Path("fed.prototxt").write_text(FED + body)
    words = ("-model", "fed.prototxt", "-weights", "tiny.caffemodel", "-iterations", 3)
    assert nst("extract", *words, "-blobs", "conv2_1,prob", "f.h5", "--backend", "numpy") == 0
    reference = Net("fed.prototxt", "tiny.caffemodel", 1, backend=get_backend("numpy"))
    reference.forward_from_to()
    with h5py.File("f.h5") as file:
        assert file["prob"].shape == (6, 4)
        np.testing.assert_array_equal(file["conv2_1"][4:], reference.blobs["conv2_1"].data)


def test_extract_writes_lmdb(workshop: Path) -> None:
    pytest.importorskip("lmdb")
    Path("fed.prototxt").write_text(FED)
    words = ("-model", "fed.prototxt", "-weights", "tiny.caffemodel", "-iterations", 2)
    assert nst("extract", *words, "-blobs", "data", "features") == 0
    reader = RecordReader("features/data", layer="x")
    values, _ = decode_datum(reader.next(), None, layer="x")
    np.testing.assert_array_equal(values, np.full((3, 16, 16), 7.0))


def test_extract_names_a_blob_that_is_not_there(workshop: Path, capsys: Captured) -> None:
    words = ("-model", "net.prototxt", "-weights", "tiny.caffemodel", "-iterations", 1)
    assert nst("extract", *words, "-blobs", "conv9", "f.h5") == 2
    assert "no blob 'conv9'" in capsys.readouterr().err
    assert not Path("f.h5").exists()


# ---- databases -----------------------------------------------------------------------------------


@pytest.fixture
def gallery(workshop: Path) -> list[np.ndarray]:
    """Three pictures (C, H, W) B G R, and list.txt that names them and one that is missing."""
    (workshop / "pics").mkdir()
    values, lines = [], []
    for number in range(3):
        rgb = picture(12, 10, number).round()
        write_picture(workshop / f"pics/p {number}.png", rgb)
        values.append(rgb[:, :, ::-1].transpose(2, 0, 1))
        lines.append(f"p {number}.png {number + 5}")
    (workshop / "list.txt").write_text("\n".join([*lines, "gone.png 9"]))
    return values


@pytest.mark.parametrize("encoding", [[], ["--encoded"]])
def test_a_database_gives_back_its_pictures_and_labels(
    encoding: list[str], gallery: list[np.ndarray], capsys: Captured
) -> None:
    pytest.importorskip("lmdb")
    assert nst("convert-imageset", "pics", "list.txt", "db", *encoding) == 0
    captured = capsys.readouterr()
    assert "3 of 4 pictures" in captured.out
    assert "left out: " in captured.err
    reader = RecordReader("db", layer="x")
    for number, expected in enumerate(gallery):
        values, label = decode_datum(reader.next(), None, layer="x")
        np.testing.assert_array_equal(values, expected)
        assert label == number + 5


def test_shuffling_keeps_every_pair(gallery: list[np.ndarray]) -> None:
    pytest.importorskip("lmdb")
    nst("convert-imageset", "-shuffle", "--seed", 3, "-gray", "pics", "list.txt", "db")
    reader = RecordReader("db", layer="x")
    labels = [decode_datum(reader.next(), None, layer="x")[1] for _ in range(3)]
    assert sorted(labels) == [5, 6, 7]


def test_a_database_is_never_overwritten(gallery: list[np.ndarray], capsys: Captured) -> None:
    pytest.importorskip("lmdb")
    nst("convert-imageset", "pics", "list.txt", "db")
    assert nst("convert-imageset", "pics", "list.txt", "db") == 2
    assert "never overwritten" in capsys.readouterr().err


def test_a_database_larger_than_its_first_room_grows(
    gallery: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lmdb")
    monkeypatch.setattr("nst.cli.database._START_SIZE", 1 << 15)
    words = ("--resize-width", 100, "--resize-height", 100)
    assert nst("convert-imageset", "pics", "list.txt", "db", *words) == 0
    reader = RecordReader("db", layer="x")
    assert decode_datum(reader.next(), None, layer="x")[0].shape == (3, 100, 100)


def test_the_mean_of_a_database_and_of_its_list_agree(
    gallery: list[np.ndarray], capsys: Captured
) -> None:
    pytest.importorskip("lmdb")
    nst("convert-imageset", "pics", "list.txt", "db")
    capsys.readouterr()
    assert nst("mean", "db", "a.binaryproto") == 0
    out = capsys.readouterr().out
    expected = np.mean(gallery, axis=0)
    np.testing.assert_allclose(read_binaryproto("a.binaryproto")[0], expected, rtol=1e-6)
    for channel, value in enumerate(expected.mean(axis=(1, 2))):
        assert f"mean_value channel [{channel}]: {value:.6g}" in out
    lines = Path("list.txt").read_text().splitlines()
    Path("list.txt").write_text("\n".join(lines[:-1]))
    nst("mean", "list.txt", "b.binaryproto", "--root", "pics")
    np.testing.assert_array_equal(
        read_binaryproto("b.binaryproto"), read_binaryproto("a.binaryproto")
    )


def test_a_mean_of_several_sizes_names_the_picture(
    gallery: list[np.ndarray], capsys: Captured
) -> None:
    with Image.open("pics/p 1.png") as image:
        image.resize((20, 20)).save("pics/p 1.png")
    assert nst("mean", "list.txt", "--root", "pics") == 2
    assert "picture 1: another size" in capsys.readouterr().err


def test_lmdb_that_is_not_installed_is_named(
    gallery: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert nst("convert-imageset", "pics", "list.txt", "db") == 2
    assert "pip install 'nst-caffe[lmdb]'" in capsys.readouterr().err
