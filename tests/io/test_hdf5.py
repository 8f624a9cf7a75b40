from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst.errors import WeightsError
from nst.io.blob_proto import array_to_blob, attach_blobs
from nst.io.caffemodel import LayerRow, Weights, read_caffemodel
from nst.io.hdf5 import describe_hdf5, is_hdf5, read_hdf5, write_hdf5
from nst.proto import LayerParameter, NetParameter, ParamSpec

WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "weights"
CAFFE_WROTE = (WEIGHTS / "init_shared.caffemodel.h5").read_bytes()


def lists(weights: Weights) -> dict[str, list[object]]:
    return {
        name: [blob and blob.array.tolist() for blob in blobs] for name, blobs in weights.items()
    }


def a_net(*names: str) -> NetParameter:
    """A net whose layers have one blob each, which holds the layer's index."""
    layers = [
        LayerParameter(name=name, blobs=[array_to_blob(np.full(2, index, "f4"))])
        for index, name in enumerate(names)
    ]
    return NetParameter(layer=layers)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.caffemodel.h5"


def test_caffes_two_formats_hold_the_same() -> None:
    binary = read_caffemodel(WEIGHTS / "init.caffemodel")
    assert lists(read_hdf5(WEIGHTS / "init.caffemodel.h5")) == lists(binary)


def test_a_shared_blob_is_absent_from_what_caffe_wrote() -> None:
    weights = read_hdf5(WEIGHTS / "init_shared.caffemodel.h5")
    assert weights["ip2b"] == []
    assert len(weights["ip2"]) == 2


def test_only_wanted_layers_are_read() -> None:
    assert list(read_hdf5(WEIGHTS / "init.caffemodel.h5", ["ip1", "nope"])) == ["ip1"]


def test_what_we_write_has_caffes_layout(path: Path) -> None:
    net = NetParameter.FromString((WEIGHTS / "init_shared.caffemodel").read_bytes())
    write_hdf5(path, net)
    with h5py.File(path) as ours, h5py.File(WEIGHTS / "init_shared.caffemodel.h5") as caffes:
        found: dict[str, list[str]] = {"ours": [], "caffes": []}
        ours.visit(found["ours"].append)
        caffes.visit(found["caffes"].append)
        assert found["ours"] == found["caffes"]
        for name in ("data/ip1/0", "data/ip2/1", "data/ip3/0"):
            assert ours[name].dtype == caffes[name].dtype
            np.testing.assert_array_equal(ours[name][()], caffes[name][()])


def test_a_blob_shared_by_name_is_written_with_its_owner_only(path: Path) -> None:
    net = a_net("a", "b")
    for layer in net.layer:
        layer.param.add(name="w")
    write_hdf5(path, net)
    assert lists(read_hdf5(path)) == {"a": [[0.0, 0.0]], "b": []}


def test_a_shared_blob_before_an_own_one_is_a_gap(path: Path) -> None:
    net = attach_blobs(
        NetParameter(
            layer=[
                LayerParameter(name="a", param=[ParamSpec(name="w")]),
                LayerParameter(name="b", param=[ParamSpec(name="w"), ParamSpec()]),
            ]
        ),
        {"a": [np.zeros(1, "f4")], "b": [np.zeros(1, "f4"), np.ones(2, "f4")]},
    )
    write_hdf5(path, net)
    assert lists(read_hdf5(path)) == {"a": [[0.0]], "b": [None, [1.0, 1.0]]}


def test_layer_names_with_slashes_survive(path: Path) -> None:
    names = ("inception_3a/1x1", "inception_3a/3x3", "inception_3a", "x")
    write_hdf5(path, a_net(*names))
    expected = {name: [[float(i)] * 2] for i, name in enumerate(names)}
    assert lists(read_hdf5(path)) == expected
    with h5py.File(path) as file:
        assert file["data/inception_3a/1x1/0"].shape == (2,)


@pytest.mark.parametrize("names", [("",), ("a//b",), ("/a",), ("a/.",), ("a", "a"), ("a", "a/0")])
def test_names_that_hdf5_cannot_hold_are_refused(path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(WeightsError, match="HDF5"):
        write_hdf5(path, a_net(*names))
    assert not path.exists()


def test_gradients_go_to_a_group_of_their_own(path: Path) -> None:
    net = NetParameter(layer=[LayerParameter(name="a")])
    net.layer[0].blobs.append(array_to_blob(np.ones(2, "f4"), np.full(2, 5, "f4")))
    write_hdf5(path, net)
    with h5py.File(path) as file:
        assert file["diff/a/0"][()].tolist() == [5.0, 5.0]
    assert lists(read_hdf5(path)) == {"a": [[1.0, 1.0]]}


@pytest.mark.parametrize(
    ("stored", "read"),
    [("f8", "f8"), (">f4", "f4"), ("f2", "f4"), ("i4", "f4"), ("u1", "f4"), (">f8", "f8")],
)
def test_any_numeric_type_reads(path: Path, stored: str, read: str) -> None:
    with h5py.File(path, "w") as file:
        file["data/a/0"] = np.array([1, 2, 3], stored)
    blob = read_hdf5(path)["a"][0]
    assert blob is not None
    assert blob.array.dtype == np.dtype(read)
    assert (blob.array.tolist(), blob.legacy) == ([1.0, 2.0, 3.0], False)


def test_rows_tell_shapes_and_bytes(path: Path) -> None:
    write_hdf5(path, a_net("b", "a/c"))
    assert describe_hdf5(path) == [LayerRow("a/c", "", ((2,),), 8), LayerRow("b", "", ((2,),), 8)]


def test_strings_are_no_weights(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["data/a/0"] = np.array([b"x"])
    with pytest.raises(WeightsError, match="layer 'a': '/data/a/0' holds no numbers"):
        read_hdf5(path)


def test_a_data_set_that_was_never_written_is_no_weights(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data/a/0", shape=(10**12,), dtype="f4", chunks=(1024,))
    with pytest.raises(WeightsError, match="declared but never written"):
        read_hdf5(path)


@pytest.mark.parametrize("name", ["data/0", "data/a/weight", "data/a/1000", "data/a/²"])
def test_data_sets_in_other_places_are_refused(path: Path, name: str) -> None:
    with h5py.File(path, "w") as file:
        file[name] = np.ones(1)
    with pytest.raises(WeightsError, match="no weights in Caffe's layout: unexpected"):
        read_hdf5(path)


def test_another_layout_is_told(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["conv"]
    with pytest.raises(WeightsError, match=r"the group 'data' is missing\. It looks like Keras"):
        read_hdf5(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "an empty file"), (b"name: 'x'", "a text file"), (b"\x01", "something else")],
)
def test_other_files_are_told_by_what_they_look_like(path: Path, data: bytes, words: str) -> None:
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=f"no HDF5 weights: it looks like {words}"):
        read_hdf5(path)


def test_the_format_is_told_by_the_signature() -> None:
    assert is_hdf5(WEIGHTS / "init.caffemodel.h5")
    assert not is_hdf5(WEIGHTS / "init.caffemodel")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for read in (is_hdf5, read_hdf5):
        with pytest.raises(WeightsError, match="cannot be read"):
            read(tmp_path / "none.h5")


@given(st.integers(0, len(CAFFE_WROTE) - 1))
def test_any_truncation_is_refused(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.h5"
    path.write_bytes(CAFFE_WROTE[:size])
    with pytest.raises(WeightsError, match=r"cut\.h5"):
        read_hdf5(path)


@given(st.lists(st.tuples(st.integers(0, len(CAFFE_WROTE) - 1), st.integers(0, 255)), max_size=8))
def test_any_damage_reads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.h5"
    content = bytearray(CAFFE_WROTE)
    for position, value in damage:
        content[position] = value
    path.write_bytes(content)
    try:
        read_hdf5(path)
    except WeightsError as error:
        assert str(path) in str(error)
