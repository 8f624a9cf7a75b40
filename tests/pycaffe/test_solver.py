"""Solvers from files: pycaffe's members, nets and states, weights, snapshots, Caffe's refusals."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from solvers.trajectories import CAFFE_RUNS, FOLDER, recorded

from nst.backend.numpy_backend import NumpyBackend
from nst.core import TEST, TRAIN
from nst.errors import FileError, UsageError
from nst.io.prototxt import parse_net, parse_solver
from nst.io.weights import read_weights
from nst.proto import SolverParameter
from nst.pycaffe import solver as door
from nst.pycaffe.solver import SGDSolver, get_solver

NET = """
name: "fit"
layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 4 dim: 3 }
        data_filler { type: "constant" value: 1.5 } } }
layer { name: "y" type: "DummyData" top: "y" dummy_data_param { shape { dim: 4 dim: 2 }
        data_filler { type: "constant" value: 0.5 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "y" top: "loss" }
layer { name: "only_test" type: "Power" bottom: "ip" top: "tested" include { phase: TEST } }
layer { name: "only_a" type: "Power" bottom: "ip" top: "staged" include { stage: "a" } }
layer { name: "only_deep" type: "Power" bottom: "ip" top: "deep" include { min_level: 2 } }
"""

SETTINGS = 'base_lr: 0.05 lr_policy: "fixed" max_iter: 6 random_seed: 3 '


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, with the net in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "net.prototxt").write_text(NET)
    return tmp_path


def write_solver(folder: Path, text: str, name: str = "model/solver.prototxt") -> Path:
    path = folder / name
    path.write_text(SETTINGS + text)
    return path


def message(text: str) -> SolverParameter:
    made = parse_solver(SETTINGS + text)
    if "net" not in text:
        made.net_param.CopyFrom(parse_net(NET))
    return made


def solver(source: Any, **options: Any) -> Any:
    return get_solver(source, backend=NumpyBackend(), **options)


# ---- members ----------------------------------------------------------------------------------------


def test_a_solver_has_pycaffes_members(folder: Path) -> None:
    made = solver(write_solver(folder, 'net: "net.prototxt" test_iter: 1 test_interval: 9'))

    made.step(2)

    assert made.iter == 2
    assert made.lr == pytest.approx(0.05)
    assert made.param.max_iter == 6
    assert made.net.blobs["loss"].data.shape == ()
    assert [net.name for net in made.test_nets] == ["fit"]


def test_a_message_is_as_good_as_a_file() -> None:
    made = solver(message("snapshot_after_train: false"))

    made.solve()

    assert made.iter == 6


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("SGDSolver", ""),
        ("NesterovSolver", "momentum: 0.9"),
        ("AdaGradSolver", ""),
        ("RMSPropSolver", ""),
        ("AdaDeltaSolver", "momentum: 0.9"),
        ("AdamSolver", "momentum: 0.9"),
        ("LBFGSSolver", ""),
    ],
)
def test_each_class_brings_its_own_rule(name: str, settings: str) -> None:
    made = getattr(door, name)(message(f'type: "SGD" {settings}'), backend=NumpyBackend())
    losses: list[float] = []
    made.on_iteration.append(lambda record: losses.append(record.loss))

    made.step(5)

    assert name == f"{made.type}Solver"
    assert losses[-1] < losses[0]


def test_callbacks_are_pycaffes() -> None:
    made, calls = solver(message("")), []
    made.add_callback(lambda: calls.append("start"), lambda: calls.append("gradients"))

    made.step(2)

    assert calls == ["start", "gradients"] * 2


def test_one_seed_gives_one_net() -> None:
    first, second = solver(message("")), solver(message(""))

    np.testing.assert_array_equal(first.net.params["ip"][0].data, second.net.params["ip"][0].data)


# ---- nets and their states ---------------------------------------------------------------------------


def test_the_net_is_found_beside_the_solver_file_first(folder: Path) -> None:
    (folder / "net.prototxt").write_text(NET.replace('"fit"', '"other"'))

    assert solver(write_solver(folder, 'net: "net.prototxt"')).net.name == "fit"


def test_the_net_is_found_from_the_current_folder_as_in_caffe(folder: Path) -> None:
    assert solver(write_solver(folder, 'net: "model/net.prototxt"')).net.name == "fit"


def test_a_net_that_is_nowhere_is_refused_with_the_places(folder: Path) -> None:
    with pytest.raises(FileError, match=r"Could not open file gone.prototxt \(looked for '.*model"):
        solver(write_solver(folder, 'net: "gone.prototxt"'))


def test_the_phases_are_train_and_test() -> None:
    made = solver(message("test_iter: 1 test_interval: 5"))

    assert made.net.phase == TRAIN
    assert made.test_nets[0].phase == TEST
    assert "tested" not in made.net.blobs
    assert "tested" in made.test_nets[0].blobs


def test_train_state_adds_stages_and_sets_the_level() -> None:
    made = solver(message('train_state { stage: "a" level: 2 }'))

    assert {"staged", "deep"} <= set(made.net.blobs)


def test_each_test_net_has_its_own_state() -> None:
    made = solver(
        message(
            'test_iter: 1 test_iter: 1 test_interval: 5 test_state { stage: "a" } test_state { level: 3 }'
        )
    )

    assert ["staged" in net.blobs for net in made.test_nets] == [True, False]
    assert ["deep" in net.blobs for net in made.test_nets] == [False, True]


def test_test_nets_come_from_messages_then_files_then_the_general_net(folder: Path) -> None:
    (folder / "model" / "b.prototxt").write_text(NET.replace('"fit"', '"b"'))
    inline = NET.replace('"fit"', '"a"')
    path = write_solver(
        folder,
        f'net: "net.prototxt" test_net: "b.prototxt" test_net_param {{ {inline} }} '
        "test_iter: 1 test_iter: 1 test_iter: 1 test_interval: 5",
    )

    assert [net.name for net in solver(path).test_nets] == ["a", "b", "fit"]


def test_test_nets_use_the_trained_weights() -> None:
    made = solver(message("test_iter: 1 test_interval: 5"))
    made.step(3)

    made.test_all()

    np.testing.assert_array_equal(
        made.test_nets[0].params["ip"][0].data, made.net.params["ip"][0].data
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('train_state { stage: "x" }', "must specify a train net using one of these fields"),
        (
            'net: "a" train_net: "b"',
            r"must not contain more than one of these fields.*\(got net, train_net",
        ),
        (
            'train_net_param { name: "n" } test_iter: 1 test_interval: 1',
            "test_iter must be specified for each test network",
        ),
        (
            'net_param { name: "n" } test_iter: 1 test_interval: 1 test_state {} test_state {}',
            "test_state must be unspecified or specified once per test net",
        ),
        (
            'net_param { name: "n" } test_net_param { name: "t" } test_interval: 1',
            "test_iter must be specified for each test network",
        ),
    ],
)
def test_contradicting_nets_are_refused_in_caffes_words(text: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        solver(parse_solver(SETTINGS + text))


# ---- weights and snapshots ---------------------------------------------------------------------------


def test_weights_of_the_solver_file_go_into_all_nets(folder: Path) -> None:
    source = solver(message(""))
    source.net.save("model/a.caffemodel")
    source.net.params["ip"][1].data[...] = 7
    source.net.save("b.caffemodel.h5")
    path = write_solver(
        folder,
        'net: "net.prototxt" weights: "a.caffemodel,b.caffemodel.h5" test_iter: 1 test_interval: 5',
    )

    made = solver(path)

    for net in (made.net, *made.test_nets):
        np.testing.assert_array_equal(net.params["ip"][1].data, 7)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("", "model/solver_iter_0"),
        ('snapshot_prefix: "out/run"', "out/run_iter_0"),
        ('snapshot_prefix: "model"', "model/solver_iter_0"),
    ],
)
@pytest.mark.parametrize(("kind", "suffix"), [("BINARYPROTO", ""), ("HDF5", ".h5")])
def test_snapshots_are_named_as_in_caffe(
    given: str, written: str, kind: str, suffix: str, folder: Path
) -> None:
    path = write_solver(folder, f'net: "net.prototxt" snapshot_format: {kind} {given}')

    paths = solver(path.relative_to(folder)).snapshot()

    assert str(paths.weights) == f"{written}.caffemodel{suffix}"
    assert str(paths.state) == f"{written}.solverstate{suffix}"
    assert paths.weights.is_file()
    assert paths.state.is_file()


@pytest.mark.parametrize("kind", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("rule", ["SGD", "Adam", "LBFGS"])
def test_solving_can_go_on_from_a_snapshot(rule: str, kind: str, folder: Path) -> None:
    path = write_solver(
        folder,
        f'net: "net.prototxt" type: "{rule}" momentum: 0.9 snapshot: 1 snapshot_format: {kind}',
    )
    straight, resumed = solver(path), solver(path)
    straight.solve()

    resumed.solve(str(next((folder / "model").glob("*_iter_1.solverstate*"))))

    assert resumed.iter == straight.iter
    np.testing.assert_array_equal(
        resumed.net.params["ip"][0].data, straight.net.params["ip"][0].data
    )


def test_gradients_are_in_the_snapshot_if_asked(folder: Path) -> None:
    path = write_solver(folder, 'net: "net.prototxt" snapshot_diff: true snapshot_format: HDF5')
    made = solver(path)
    made.step(1)

    with h5py.File(made.snapshot().weights) as file:
        np.testing.assert_array_equal(file["diff/ip/0"][()], made.net.params["ip"][0].diff)


# ---- runs of the real Caffe ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", CAFFE_RUNS)
def test_solver_files_of_caffe_run_as_they_are(name: str, monkeypatch: Any) -> None:
    monkeypatch.chdir(FOLDER)
    made = solver(f"{name}.solver.prototxt")
    shared = "_shared" if "shared" in made.param.net else ""
    made.net.copy_from(f"init{shared}.caffemodel")
    run = recorded(name)

    made.step(12)

    values = [blob.data.ravel() for key in sorted(made.net.params) for blob in made.net.params[key]]
    atol = 1e-5 * np.abs(run["steps"][-1]).max()
    np.testing.assert_allclose(np.concatenate(values), run["steps"][-1], rtol=0, atol=atol)
    tested = made.test_nets[0]
    tested.share_with(made.net)
    for accuracy, loss in zip(run["test_acc"], run["test_loss"], strict=True):
        tested.forward()
        assert float(tested.blobs["acc"].data) == pytest.approx(accuracy)
        assert float(tested.blobs["loss"].data) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("name", ["adam", "sgd_shared"])
def test_our_snapshot_holds_what_caffes_holds(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    made = SGDSolver if name.startswith("sgd") else door.AdamSolver
    run = made(f"{name}.solver.prototxt", backend=NumpyBackend())
    run.net.copy_from("init_shared.caffemodel" if "shared" in name else "init.caffemodel")
    run.step(6)

    ours = read_weights(run.snapshot().weights)
    caffes = read_weights(FOLDER / f"{name}_iter_6.caffemodel")

    assert ours.keys() == caffes.keys()
    for layer, blobs in caffes.items():
        for mine, theirs in zip(ours[layer], blobs, strict=True):
            np.testing.assert_allclose(mine.array, theirs.array, rtol=0, atol=1e-6)


def test_the_log_of_a_training_reads_as_caffes(
    tmp_path: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(FOLDER.parent / "cli", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with Path("s.prototxt").open("a") as file:
        file.write('debug_info: true weights: "init.caffemodel"')

    with caplog.at_level(logging.INFO, logger="nst.solvers"):
        solver("s.prototxt").solve()

    ours = [record.getMessage().split() for record in caplog.records]
    caffes = [line.split() for line in (FOLDER / "debug_info.log").read_text().splitlines()]
    assert [list(filter(is_word, line)) for line in ours] == [
        list(filter(is_word, line)) for line in caffes
    ]
    np.testing.assert_allclose(numbers(ours), numbers(caffes), rtol=2e-5)


def is_word(token: str) -> bool:
    return not re.fullmatch(r"\(?-?[\d.]+(e-?\d+)?[,;)]*", token)


def numbers(lines: list[list[str]]) -> list[float]:
    return [float(token.strip("(),;")) for line in lines for token in line if not is_word(token)]


@pytest.mark.shared
def test_every_recorded_run_of_the_shared_folder(shared: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(shared / "oracle" / "solver")
    for archive in sorted(Path().glob("*.npz")):
        made = solver(f"{archive.stem}.solver.prototxt")
        with np.load(archive) as run:
            initial = {
                name: [run[f"init/{name}/{i}"] for i in range(len(blobs))]
                for name, blobs in made.net.params.items()
            }
            made.net.copy_weights(initial)
            made.step(12)
            for name, blobs in made.net.params.items():
                for i, blob in enumerate(blobs):
                    last = run[f"it12/{name}/{i}"]
                    error = np.abs(blob.data - last).max() / np.abs(last).max()
                    assert error < 1e-5, f"{archive.stem}: {name}[{i}]"


def test_a_run_is_quiet_unless_logging_is_on(caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
    with caplog.at_level(logging.WARNING):
        solver(message("display: 1")).step(2)

    assert capsys.readouterr() == ("", "")
    assert not caplog.records
