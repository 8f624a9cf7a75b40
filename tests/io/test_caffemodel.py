from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst.errors import WeightsError
from nst.io.blob_proto import array_to_blob, attach_blobs, blob_to_array, blob_to_diff
from nst.io.caffemodel import LayerRow, describe_caffemodel, read_caffemodel, write_caffemodel
from nst.io.wire import length_prefix
from nst.proto import BlobProto, LayerParameter, NetParameter, V1LayerParameter

REPO = Path(__file__).resolve().parents[2]
WEIGHTS = REPO / "tests" / "data" / "weights"
CAFFE_WROTE = ["init.caffemodel", "init_shared.caffemodel", "sgd_snapdiff_iter_6.caffemodel"]
LEGACY_FORMS = ["v0", "v1_genuine_like", "v1_inputname", "v1_newshape", "v1_with_diff", "v2_double"]

# What a file holds and what the complaint about it says.
FOREIGN = [
    (b"", "the file is empty"),
    (b"this is no caffemodel", "a text file"),
    (b"\n<!DOCTYPE html><html>404</html>", "a web page: the download went wrong"),
    (b"PK\x03\x04\x14\x00\x00\x00", "a zip archive"),
    (b"\x80\x02}q\x00.", "a Python pickle"),
    (b"\x89HDF\r\n\x1a\n\x00\x00", "an HDF5 file"),
    (b"\x08\x07\x12\x07pytorch\x1a\x012", "an ONNX model"),
    (b"\x1f\x8b\x08\x00rest", "a gzip file"),
    (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (bytes(64), "nothing but zeros"),
    (NetParameter(name="no", force_backward=True).SerializeToString(), "it has no layers"),
    (b"\xff" * 32, "no protobuf integer at byte 0"),
    (b"\x0f\x80\x81", "no protobuf field at byte 0"),
]


def as_file(folder: Path, data: bytes) -> Path:
    path = folder / "w.caffemodel"
    path.write_bytes(data)
    return path


def one_blob(folder: Path, blob: bytes) -> Path:
    """A caffemodel with one layer 'c' that has one blob of these wire bytes."""
    layer = b"\x0a\x01c" + length_prefix(7, len(blob)) + blob
    return as_file(folder, length_prefix(100, len(layer)) + layer)


@pytest.fixture
def net(rng: np.random.Generator) -> NetParameter:
    text = NetParameter(name="n", layer=[LayerParameter(name=name) for name in ("a", "b", "c")])
    blobs = {"a": [rng.normal(size=(2, 3)).astype("f4"), rng.normal(size=2).astype("f4")]}
    return attach_blobs(text, blobs | {"c": [rng.normal(size=())]})


def protobufs_view(message: NetParameter) -> Iterator[tuple[str, list[BlobProto]]]:
    """The blobs of a net in any form, by protobuf's own parser."""
    for layer in [*message.layer, *message.layers]:
        inner = layer
        if isinstance(layer, V1LayerParameter) and layer.HasField("layer"):
            inner = layer.layer
        yield inner.name, list(inner.blobs)


def assert_same(path: Path) -> None:
    """Our walk over the wire format finds what protobuf's own parser finds."""
    weights = read_caffemodel(path)
    for name, protos in protobufs_view(NetParameter.FromString(path.read_bytes())):
        for proto, stored in zip(protos, weights[name], strict=True):
            assert stored is not None
            values = proto.double_data if proto.double_data else proto.data
            np.testing.assert_array_equal(stored.array.ravel(), values)
            assert stored.legacy == proto.HasField("num")
            dims = [proto.num, proto.channels, proto.height, proto.width]
            assert list(stored.array.shape) == (dims if stored.legacy else list(proto.shape.dim))


@pytest.mark.parametrize("name", CAFFE_WROTE)
def test_files_of_the_real_caffe_read_as_by_protobuf(name: str) -> None:
    assert_same(WEIGHTS / name)


@pytest.mark.parametrize("name", LEGACY_FORMS)
def test_files_of_every_form_read_as_by_protobuf(shared: Path, name: str) -> None:
    assert_same(shared / "oracle" / "legacy" / f"{name}.caffemodel")


@pytest.mark.parametrize("name", CAFFE_WROTE)
def test_what_caffe_wrote_is_written_back_byte_by_byte(tmp_path: Path, name: str) -> None:
    data = (WEIGHTS / name).read_bytes()
    write_caffemodel(tmp_path / "out.caffemodel", NetParameter.FromString(data))
    assert (tmp_path / "out.caffemodel").read_bytes() == data


def test_only_wanted_layers_are_read(tmp_path: Path, net: NetParameter) -> None:
    write_caffemodel(tmp_path / "w.caffemodel", net)
    assert list(read_caffemodel(tmp_path / "w.caffemodel", {"b", "c", "z"})) == ["b", "c"]


def test_damage_in_layers_that_nobody_wants_does_not_matter(tmp_path: Path) -> None:
    bad = LayerParameter(name="bad", blobs=[BlobProto(shape={"dim": [3]}, data=[1.0])])
    good = LayerParameter(name="good", blobs=[BlobProto(shape={"dim": [1]}, data=[1.0])])
    path = as_file(tmp_path, NetParameter(layer=[bad, good]).SerializeToString())
    assert list(read_caffemodel(path, ["good"])) == ["good"]
    with pytest.raises(
        WeightsError, match=r"layer 'bad': a blob of shape \(3,\) has 1 values, expected 3"
    ):
        read_caffemodel(path)


def test_arrays_are_copies_that_can_be_written(tmp_path: Path, net: NetParameter) -> None:
    write_caffemodel(tmp_path / "w.caffemodel", net)
    blob = read_caffemodel(tmp_path / "w.caffemodel")["a"][0]
    assert blob is not None
    blob.array[...] = 0
    assert blob.array.flags.writeable


def test_doubles_stay_doubles_and_win_over_floats(tmp_path: Path) -> None:
    blob = BlobProto(shape={"dim": [2]}, data=[1, 2], double_data=[0.1, 0.2])
    stored = read_caffemodel(one_blob(tmp_path, blob.SerializeToString()))["c"][0]
    assert stored is not None
    assert stored.array.dtype == np.float64
    np.testing.assert_array_equal(stored.array, [0.1, 0.2])


def test_unpacked_values_and_shapes_read(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.normal(size=6).astype("<f4")
    unpacked = b"".join(b"\x2d" + value.tobytes() for value in values)
    shape = b"\x08\x02\x08\x03"
    blob = unpacked[:10] + length_prefix(7, len(shape)) + shape + unpacked[10:]
    stored = read_caffemodel(one_blob(tmp_path, blob))["c"][0]
    assert stored is not None
    np.testing.assert_array_equal(stored.array, values.reshape(2, 3))


def test_unpacked_doubles_read(tmp_path: Path) -> None:
    blob = (
        b"\x41"
        + np.float64(0.1).tobytes()
        + b"\x41"
        + np.float64(0.2).tobytes()
        + b"\x3a\x02\x08\x02"
    )
    stored = read_caffemodel(one_blob(tmp_path, blob))["c"][0]
    assert stored is not None
    np.testing.assert_array_equal(stored.array, [0.1, 0.2])


def test_values_in_several_packed_pieces_read(tmp_path: Path) -> None:
    piece = length_prefix(5, 4) + np.float32(1.5).tobytes()
    stored = read_caffemodel(one_blob(tmp_path, piece + b"\x3a\x03\x0a\x01\x02" + piece))["c"][0]
    assert stored is not None
    np.testing.assert_array_equal(stored.array, [1.5, 1.5])


def test_fields_of_forks_are_skipped(tmp_path: Path) -> None:
    foreign = (
        b"\xf8\xe2\xc7\x1f\x05"
        + length_prefix(201, 3)
        + b"abc"
        + b"\x9d\x3f1234"
        + b"\x99\x3f12345678"
    )
    layer = LayerParameter(name="c", blobs=[array_to_blob(np.ones(2, "f4"))]).SerializeToString()
    layer = foreign + layer + foreign
    path = as_file(tmp_path, foreign + length_prefix(100, len(layer)) + layer + foreign)
    assert [blob.array.tolist() for blob in read_caffemodel(path)["c"] if blob] == [[1.0, 1.0]]


def test_a_legacy_shape_counts_as_four_extents(tmp_path: Path) -> None:
    blob = BlobProto(num=1, channels=1, height=1, width=2, data=[3, 4])
    stored = read_caffemodel(one_blob(tmp_path, blob.SerializeToString()))["c"][0]
    assert stored is not None
    assert (stored.array.shape, stored.legacy) == ((1, 1, 1, 2), True)


def test_negative_extents_are_refused(tmp_path: Path) -> None:
    blob = BlobProto(shape={"dim": [-1, -2]}, data=[3, 4])
    with pytest.raises(WeightsError, match="layer 'c': a blob has a negative extent"):
        read_caffemodel(one_blob(tmp_path, blob.SerializeToString()))


def test_the_last_of_two_layers_of_a_name_counts(tmp_path: Path) -> None:
    layers = [LayerParameter(name="c", blobs=[array_to_blob(np.full(1, v, "f4"))]) for v in (1, 2)]
    path = as_file(tmp_path, NetParameter(layer=layers).SerializeToString())
    assert [blob.array.tolist() for blob in read_caffemodel(path)["c"] if blob] == [[2.0]]


def test_the_block_that_mycaffe_appends_is_left_out(tmp_path: Path, net: NetParameter) -> None:
    tail = bytes(256) + b"mycaffe.ai" + b"1.0.1".ljust(32, b"\0") + bytes(8) + b"mycaffe.ai"
    path = as_file(tmp_path, net.SerializeToString() + tail)
    assert list(read_caffemodel(path)) == ["a", "b", "c"]


def test_rows_tell_types_shapes_and_bytes(tmp_path: Path, net: NetParameter) -> None:
    net.layer[0].type = "InnerProduct"
    write_caffemodel(tmp_path / "w.caffemodel", net)
    assert describe_caffemodel(tmp_path / "w.caffemodel") == [
        LayerRow("a", "InnerProduct", ((2, 3), (2,)), 32),
        LayerRow("b", "", (), 0),
        LayerRow("c", "", ((),), 8),
    ]


def test_rows_of_old_files_have_current_types(tmp_path: Path) -> None:
    old = NetParameter(layers=[V1LayerParameter(name="l", type=V1LayerParameter.SOFTMAX_LOSS)])
    rows = describe_caffemodel(as_file(tmp_path, old.SerializeToString()))
    assert rows == [LayerRow("l", "SoftmaxWithLoss", (), 0)]


@pytest.mark.parametrize(("data", "words"), FOREIGN)
def test_foreign_files_are_told_by_what_they_look_like(
    tmp_path: Path, data: bytes, words: str
) -> None:
    path = as_file(tmp_path, data)
    with pytest.raises(WeightsError) as caught:
        read_caffemodel(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_truncated_file_says_how_much_lacks(tmp_path: Path, net: NetParameter) -> None:
    data = net.SerializeToString()
    with pytest.raises(WeightsError, match="truncated: ends early: 5 more bytes belong to it"):
        read_caffemodel(as_file(tmp_path, data[:-5]), wanted=["a"])


@pytest.mark.parametrize("name", ["none.caffemodel", "."])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        read_caffemodel(tmp_path / name)


@given(st.binary(max_size=300))
def test_any_bytes_read_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    check_bytes(tmp_path_factory.getbasetemp(), data)


@given(st.data())
def test_any_damage_to_a_real_file_reads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(CAFFE_WROTE))
    content = bytearray((WEIGHTS / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    check_bytes(tmp_path_factory.getbasetemp(), bytes(content))


def check_bytes(folder: Path, data: bytes) -> None:
    path = as_file(folder, data)
    for read in (read_caffemodel, describe_caffemodel):
        try:
            read(path)
        except WeightsError as error:
            assert str(path) in str(error)


@given(st.lists(st.integers(1, 4), max_size=4), st.sampled_from(["f4", "f8"]), st.booleans())
def test_arrays_survive_as_blobs(shape: list[int], kind: str, with_diff: bool) -> None:
    array = np.random.default_rng(3).normal(size=shape).astype(kind)
    blob = array_to_blob(array, array * 2 if with_diff else None)
    stored = blob_to_array(blob)
    np.testing.assert_array_equal(stored.array, array)
    assert (stored.array.dtype, stored.array.shape, stored.legacy) == (
        array.dtype,
        array.shape,
        False,
    )
    assert list(blob.shape.dim) == shape
    diff = blob_to_diff(blob)
    expected = array.ravel() * 2 if with_diff else []
    np.testing.assert_array_equal([] if diff is None else diff.ravel(), expected)


def test_an_empty_array_survives_as_a_blob() -> None:
    assert blob_to_array(array_to_blob(np.empty((2, 0, 3), "f4"))).array.shape == (2, 0, 3)


def test_integers_and_strided_views_become_plain_floats() -> None:
    blob = array_to_blob(np.arange(6).reshape(2, 3).T)
    assert list(blob.data) == [0, 3, 1, 4, 2, 5]


# The structure of the genuine VGG19 file: V1 layers, DATA first, legacy shapes, 495 MB fully connected.
VGG19 = """
import os, sys
from nst.io.wire import encoded_varint, length_prefix

channels = [3, 64, 64, 128, 128, 256, 256, 256, 256] + [512] * 8
blocks = [(1, 2), (2, 2), (3, 4), (4, 4), (5, 4)]
names = [f"conv{block}_{i}" for block, n in blocks for i in range(1, n + 1)]
shapes = {n: (o, i, 3, 3) for n, o, i in zip(names, channels[1:], channels)}
shapes |= {"fc6": (1, 1, 4096, 25088), "fc7": (1, 1, 4096, 4096), "fc8": (1, 1, 1000, 4096)}

def head(shape, count):
    extents = (bytes([8 * axis]) + encoded_varint(n) for axis, n in enumerate(shape, start=1))
    return b"".join(extents) + length_prefix(5, 4 * count)

with open(sys.argv[1], "wb") as file:
    file.write(length_prefix(2, 8) + length_prefix(4, 4) + b"data" + bytes([0x28, 5]))
    for name, shape in shapes.items():
        a, b, c, d = shape
        sizes = (a * b * c * d, c if name.startswith("fc") else a)
        heads = (head(shape, sizes[0]), head((1, 1, 1, sizes[1]), sizes[1]))
        blobs = [length_prefix(6, len(h) + 4 * n) + h for h, n in zip(heads, sizes)]
        start = length_prefix(4, len(name)) + name.encode() + bytes([0x28, 4])
        total = len(start) + sum(map(len, blobs)) + 4 * sum(sizes)
        file.write(length_prefix(2, total) + start)
        for blob, size in zip(blobs, sizes):
            file.write(blob)
            # Random convolutions; the fully connected weights are a hole in the file.
            file.write(os.urandom(4 * size)) if name.startswith("conv") else file.seek(4 * size, 1)
    file.truncate(file.tell())
"""
PEAK = """
import resource, sys
from nst.io.caffemodel import describe_caffemodel, read_caffemodel

names = [row.name for row in describe_caffemodel(sys.argv[1]) if row.name.startswith("conv")]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
weights = read_caffemodel(sys.argv[1], names)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(weights), sum(b.array.nbytes for blobs in weights.values() for b in blobs), after - before)
"""


def in_a_process(code: str, argument: Path) -> str:
    command = [sys.executable, "-c", code, str(argument)]
    environment = {"PYTHONPATH": str(REPO / "src")}
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory by Linux's ru_maxrss in KiB")
def test_the_convolutions_of_vgg19_come_without_the_memory_of_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "vgg19.caffemodel"
    in_a_process(VGG19, path)
    assert path.stat().st_size > 574_000_000
    layers, held, peak = map(int, in_a_process(PEAK, path).split())
    assert (layers, held) == (16, 80_097_536)
    assert peak * 1024 < 200_000_000
