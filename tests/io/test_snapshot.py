from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst.errors import SnapshotError
from nst.io.snapshot import Snapshot, read_snapshot, write_snapshot
from nst.proto import SolverState

WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "weights"
CAFFE_WROTE = ["sgd_snapdiff_iter_6.solverstate", "adam_iter_6.solverstate"]
NAMES = ["run.solverstate", "run.solverstate.h5"]


@pytest.fixture
def snapshot(rng: np.random.Generator) -> Snapshot:
    return Snapshot(
        iteration=70,
        learned_net="out/run_iter_70.caffemodel",
        history=[rng.normal(size=(3, 4)).astype("f4"), rng.normal(size=3).astype("f4")],
        current_step=2,
        state={"lbfgs/s/0": rng.normal(size=(1, 3, 2, 2)), "ρ": np.float64(0.25)},
        options_hash="sha256:0123",
        rng_state=b"\x00state\x00\x00",
        size_index=1,
    )


def assert_equal(ours: Snapshot, expected: Snapshot) -> None:
    plain = ("iteration", "learned_net", "current_step", "options_hash", "rng_state", "size_index")
    for name in plain:
        assert getattr(ours, name) == getattr(expected, name)
    for array, other in zip(ours.history, expected.history, strict=True):
        np.testing.assert_array_equal(array, other)
    assert list(ours.state) == list(expected.state)
    for name in ours.state:
        np.testing.assert_array_equal(ours.state[name], expected.state[name])
        assert ours.state[name].dtype == expected.state[name].dtype


@pytest.mark.parametrize("name", CAFFE_WROTE)
def test_states_of_the_real_caffe_read_as_by_protobuf(name: str) -> None:
    message = SolverState.FromString((WEIGHTS / name).read_bytes())
    snapshot = read_snapshot(WEIGHTS / name)
    assert snapshot.iteration == message.iter == 6
    assert snapshot.learned_net == message.learned_net
    assert snapshot.current_step == message.current_step
    for array, blob in zip(snapshot.history, message.history, strict=True):
        np.testing.assert_array_equal(array.ravel(), blob.data)
        assert list(array.shape) == list(blob.shape.dim)


@pytest.mark.parametrize("name", CAFFE_WROTE)
def test_states_of_the_real_caffe_are_written_back_byte_by_byte(tmp_path: Path, name: str) -> None:
    write_snapshot(tmp_path / name, read_snapshot(WEIGHTS / name))
    assert (tmp_path / name).read_bytes() == (WEIGHTS / name).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_everything_survives(tmp_path: Path, snapshot: Snapshot, name: str) -> None:
    write_snapshot(tmp_path / name, snapshot)
    assert_equal(read_snapshot(tmp_path / name), snapshot)


@pytest.mark.parametrize("name", NAMES)
def test_a_bare_state_survives(tmp_path: Path, name: str) -> None:
    write_snapshot(tmp_path / name, Snapshot(iteration=0))
    assert_equal(read_snapshot(tmp_path / name), Snapshot(iteration=0))


def test_the_hdf5_form_has_caffes_layout(tmp_path: Path, snapshot: Snapshot) -> None:
    path = tmp_path / "run.solverstate.h5"
    write_snapshot(path, snapshot)
    with h5py.File(path) as file:
        assert (file["iter"].shape, file["iter"].dtype) == ((1,), np.int32)
        assert file["current_step"][()].tolist() == [2]
        assert sorted(file["history"]) == ["0", "1"]
        text = file["learned_net"].id.get_type()
        assert file["learned_net"].shape == ()
        assert text.get_strpad() == h5py.h5t.STR_NULLTERM
        assert text.get_size() == len("out/run_iter_70.caffemodel") + 1


def test_an_hdf5_state_without_our_part_reads(tmp_path: Path) -> None:
    path = tmp_path / "caffes.solverstate.h5"
    with h5py.File(path, "w") as file:
        file["iter"] = np.array([5], np.int32)
        file["current_step"] = np.array([1], np.int32)
        file["learned_net"] = np.bytes_("w.caffemodel")
        file["history/0"] = np.ones((2, 2), "f4")
    expected = Snapshot(5, "w.caffemodel", [np.ones((2, 2), "f4")], 1)
    assert_equal(read_snapshot(path), expected)


def test_the_signature_decides_and_not_the_name(tmp_path: Path, snapshot: Snapshot) -> None:
    write_snapshot(tmp_path / "a.h5", snapshot)
    (tmp_path / "a.h5").rename(tmp_path / "a.solverstate")
    assert read_snapshot(tmp_path / "a.solverstate").iteration == 70


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"a text", "a text file"),
        (b"\x0f", "damaged"),
        (SolverState(current_step=1).SerializeToString(), "the iteration is missing"),
        (b"\x89HDF\r\n\x1a\n", "damaged"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "x.solverstate").write_bytes(data)
    with pytest.raises(SnapshotError) as caught:
        read_snapshot(tmp_path / "x.solverstate")
    assert words in str(caught.value)


def test_weights_are_no_state(tmp_path: Path) -> None:
    for name in ("init.caffemodel", "init.caffemodel.h5"):
        with pytest.raises(SnapshotError, match="no solver state"):
            read_snapshot(WEIGHTS / name)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="cannot be read"):
        read_snapshot(tmp_path / "none.solverstate")


@given(st.data())
def test_any_damage_reads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.solverstate"
    content = bytearray((WEIGHTS / data.draw(st.sampled_from(CAFFE_WROTE))).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        read_snapshot(path)
    except SnapshotError as error:
        assert str(path) in str(error)
