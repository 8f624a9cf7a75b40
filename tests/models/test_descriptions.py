"""models/: the descriptions parse, have the published sizes, and agree with known.json and the weights."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nst.backend.numpy_backend import NumpyBackend
from nst.core import TEST
from nst.io.caffemodel import read_caffemodel
from nst.io.images import read_picture
from nst.io.known_models import known_models
from nst.io.prototxt import read_net, read_solver
from nst.net import Net
from nst.proto import LayerParameter, NetParameter
from nst.style.presets import DEFAULT_PRESET

MODELS = Path(__file__).resolve().parents[2] / "models"
NETS = sorted(MODELS.glob("*/net*.prototxt"))
FOLDERS = sorted(path.parent for path in MODELS.glob("*/net.prototxt"))
TABLE = json.loads((MODELS / "known.json").read_text())

# Trainable numbers, as the papers' tables give them when summed by hand: weights and biases.
PUBLISHED = {
    "vgg16/net.prototxt": 138_357_544,
    "vgg19/net.prototxt": 143_667_240,
    "googlenet/net.prototxt": 6_998_552,
    "squeezenet_v1.0/net.prototxt": 1_248_424,
    "squeezenet_v1.0/net_deep_compression.prototxt": 1_248_424,
}
Shape = tuple[int, int, int]
Shapes = dict[str, list[tuple[int, ...]]]


def window(layer: LayerParameter, side: int) -> int:
    """Output side of a square convolution (rounded down) or pooling (rounded up, clipped to the padding)."""
    if layer.type == "Convolution":
        param = layer.convolution_param
        kernel, pad, stride = (
            next(iter(v), d) for v, d in ((param.kernel_size, 1), (param.pad, 0), (param.stride, 1))
        )
        return (side + 2 * pad - kernel) // stride + 1
    pool = layer.pooling_param
    if pool.global_pooling:
        return 1
    count = math.ceil((side + 2 * pool.pad - pool.kernel_size) / pool.stride) + 1
    return count - (pool.pad > 0 and (count - 1) * pool.stride >= side + pool.pad)


def walk(net: NetParameter) -> tuple[dict[str, Shape], Shapes]:
    """Blob shapes (channels, h, w) and parameter shapes by layer: our own arithmetic, not nst.net's."""
    blobs: dict[str, Shape] = {}
    params: Shapes = {}
    for layer in net.layer:
        below = [blobs[name] for name in layer.bottom]
        channels, height, width = below[0] if below else layer.input_param.shape[0].dim[1:]
        if layer.type == "Convolution":
            outputs, kernel = (
                layer.convolution_param.num_output,
                layer.convolution_param.kernel_size[0],
            )
            params[layer.name] = [(outputs, channels, kernel, kernel), (outputs,)]
            shape = (outputs, window(layer, height), window(layer, width))
        elif layer.type == "Pooling":
            shape = (channels, window(layer, height), window(layer, width))
        elif layer.type == "InnerProduct":
            outputs = layer.inner_product_param.num_output
            params[layer.name] = [(outputs, channels * height * width), (outputs,)]
            shape = (outputs, 1, 1)
        elif layer.type == "Concat":
            shape = (sum(b[0] for b in below), height, width)
        else:
            shape = (channels, height, width)
        blobs[layer.top[0]] = shape
    return blobs, params


def name_of(path: Path) -> str:
    return path.relative_to(MODELS).as_posix()


@pytest.mark.parametrize("path", NETS, ids=name_of)
def test_every_blob_is_made_before_it_is_read(path: Path) -> None:
    blobs, _ = walk(read_net(path))
    assert min(min(shape) for shape in blobs.values()) >= 1


@pytest.mark.parametrize("path", NETS, ids=name_of)
def test_layer_names_are_unique(path: Path) -> None:
    names = [layer.name for layer in read_net(path).layer]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_add_up_to_the_published_count(name: str) -> None:
    _, params = walk(read_net(MODELS / name))
    assert (
        sum(math.prod(shape) for shapes in params.values() for shape in shapes) == PUBLISHED[name]
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_nets_end_in_a_thousand_classes(name: str) -> None:
    blobs, _ = walk(read_net(MODELS / name))
    assert blobs["prob"] == (1000, 1, 1)


@pytest.mark.parametrize(
    ("name", "layers"),
    [("vgg16", 16), ("vgg19", 19), ("googlenet", 58), ("squeezenet_v1.0", 26), ("quickstart", 9)],
)
def test_nets_have_the_published_number_of_layers_with_weights(name: str, layers: int) -> None:
    _, params = walk(read_net(MODELS / name / "net.prototxt"))
    assert len(params) == layers


TRAINABLE = {"caffenet": 60_965_224, "lenet": 431_080, "resnet50": 25_557_032 + 64}
"""Numbers that a solver changes, as published (ResNet-50: torchvision's, and the bias of Caffe's conv1)."""


@pytest.mark.parametrize("file", ["deploy", "train_test"])
@pytest.mark.parametrize("name", TRAINABLE)
def test_nets_for_training_have_the_published_parameters(name: str, file: str) -> None:
    param = read_net(MODELS / name / f"{file}.prototxt")
    for layer in param.layer:  # no time for random numbers
        for part in (layer.convolution_param, layer.inner_product_param):
            part.ClearField("weight_filler")
    net = Net(param, backend=NumpyBackend(), phase=TEST)
    moving = [b.count for b, lr in zip(net.learnable_params, net.params_lr, strict=True) if lr]
    assert sum(moving) == TRAINABLE[name]
    assert "accuracy" in net.outputs if file == "train_test" else net.outputs == ["prob"]


def test_deep_compression_names_differ_in_nothing_but_names() -> None:
    one = read_net(MODELS / "squeezenet_v1.0/net.prototxt").layer
    two = read_net(MODELS / "squeezenet_v1.0/net_deep_compression.prototxt").layer
    strip = ("name", "bottom", "top")
    for layer in (*one, *two):
        for field in strip:
            layer.ClearField(field)
    assert list(one) == list(two)


def test_descriptions_are_what_the_tool_writes() -> None:
    tool = MODELS.parent / "tools" / "describe_models"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_solver_taps_exist_in_the_net(folder: Path) -> None:
    blobs, _ = walk(read_net(folder / "net.prototxt"))
    style = read_solver(folder / "solver.prototxt").style_transfer_param
    taps = [tap.name for term in (style.content, *style.style) for tap in term.layer]
    assert set(taps) <= set(blobs)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_solver_files_exist(folder: Path) -> None:
    solver = read_solver(folder / "solver.prototxt")
    style = solver.style_transfer_param
    files = [solver.net, style.content.image, *(term.image for term in style.style)]
    assert [name for name in files if not (folder / name).is_file()] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_solver_files_paint_with_the_default_preset(folder: Path) -> None:
    style = read_solver(folder / "solver.prototxt").style_transfer_param
    assert style.preset == DEFAULT_PRESET


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_solver_weights_are_those_of_its_folder(folder: Path) -> None:
    assert list(read_solver(folder / "solver.prototxt").weights) == [folder.name]


def test_known_models_are_the_folders() -> None:
    assert sorted(TABLE) == [folder.name for folder in FOLDERS]


@pytest.mark.parametrize("name", sorted(TABLE))
def test_known_entry_is_complete(name: str) -> None:
    keys = {
        "description",
        "file",
        "url",
        "bytes",
        "md5",
        "sha1",
        "sha256",
        "license",
        "mean",
        "net",
    }
    assert set(TABLE[name]) == keys


@pytest.mark.parametrize("name", sorted(TABLE))
def test_known_entry_names_a_net_and_is_described(name: str) -> None:
    readme = (MODELS / name / "README.md").read_text()
    assert (MODELS / name / TABLE[name]["net"]).is_file()
    assert TABLE[name]["file"] in readme


@pytest.mark.parametrize("name", sorted(set(TABLE) - {"quickstart"}))
def test_readme_and_table_give_the_same_facts(name: str) -> None:
    header = (MODELS / name / "README.md").read_text().split("---")[1]
    facts = dict(line.split(": ", 1) for line in header.strip().splitlines())
    entry = TABLE[name]
    digests = {kind: entry[kind] for kind in ("md5", "sha1", "sha256") if entry[kind]}
    assert facts["caffemodel_url"] == entry["url"]
    assert int(facts["bytes"]) == entry["bytes"]
    assert {kind: facts[kind] for kind in digests} == digests


@pytest.mark.parametrize("name", sorted(TABLE))
def test_known_checksums_are_hexadecimal_of_the_right_length(name: str) -> None:
    for kind in ("md5", "sha1", "sha256"):
        value = TABLE[name][kind]
        assert value is None or len(bytes.fromhex(value)) == hashlib.new(kind).digest_size


def test_quickstart_weights_are_the_listed_file() -> None:
    data = known_models()["quickstart"].shipped_file.read_bytes()
    entry = TABLE["quickstart"]
    assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])


def test_quickstart_weights_are_at_most_five_megabytes() -> None:
    assert (MODELS / "quickstart/quickstart.caffemodel").stat().st_size <= 5_000_000


def test_quickstart_weights_match_its_net() -> None:
    _, params = walk(read_net(MODELS / "quickstart/net.prototxt"))
    weights = read_caffemodel(MODELS / "quickstart/quickstart.caffemodel")
    assert {name: [blob.array.shape for blob in blobs] for name, blobs in weights.items()} == params


def test_quickstart_weights_are_finite() -> None:
    weights = read_caffemodel(MODELS / "quickstart/quickstart.caffemodel")
    assert all(np.isfinite(blob.array).all() for blobs in weights.values() for blob in blobs)


def test_quickstart_has_the_taps_of_the_vgg_presets() -> None:
    blobs, _ = walk(read_net(MODELS / "quickstart/net.prototxt"))
    assert {"conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv4_2", "conv5_1"} <= set(blobs)


@pytest.mark.parametrize("name", ["content.jpg", "style.jpg"])
def test_quickstart_pictures_are_small_and_readable(name: str) -> None:
    path = MODELS / "quickstart" / name
    assert path.stat().st_size <= 250_000
    assert max(read_picture(path).rgb.shape) == 640
