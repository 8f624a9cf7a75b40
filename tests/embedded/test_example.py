"""The example of docs/tutorials/train-your-own-features.md, in small: drawn, trained, folded, counted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.random import default_rng

from nst.cli.main import main
from nst.core.blob import Blob
from nst.io.prototxt import format_message, read_net, read_solver
from nst.pycaffe import TEST, TRAIN, Net

REPO = Path(__file__).resolve().parents[2]
CLASSES, BATCH = 3, 8
SOLVER = """
net: "train_val.prototxt" test_iter: 1 test_interval: 4 type: "Adam" momentum: 0.9 momentum2: 0.999
base_lr: 0.002 lr_policy: "fixed" max_iter: 4 snapshot_prefix: "run" random_seed: 1
"""


@pytest.fixture(scope="module")
def example() -> Any:
    """The modules of tools/embedded, importable as the commands have them."""
    folder = str(REPO / "tools/embedded")
    before = set(sys.modules)
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(folder):
            del sys.modules[name]


@pytest.fixture(scope="module")
def workshop(example: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiles of a few classes and a training of four iterations and four of the second stage."""
    import network
    import tiles

    folder = tmp_path_factory.mktemp("embedded")
    plan = tiles.Plan(
        CLASSES, canvases=2, canvas_side=96, side=48, files=2, per_file=3, test_per_class=4
    )
    tiles.write(folder / "tiles", plan, processes=1)
    net = network.training_net(CLASSES, BATCH, str(folder / "tiles"), 48)
    (folder / "train_val.prototxt").write_text(format_message(net))
    (folder / "solver.prototxt").write_text(SOLVER)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["train", "--solver", "solver.prototxt", "--allow-python"]
        assert main(words) == 0
        (folder / "solver.prototxt").write_text(SOLVER.replace("max_iter: 4", "max_iter: 8"))
        assert main([*words, "--snapshot", "run_iter_4.solverstate", "--stage", "spoil"]) == 0
    return folder


def test_the_prototxt_is_what_the_description_writes(example: Any) -> None:
    import network

    assert read_net(REPO / "tools/embedded/train_val.prototxt") == network.training_net()


def test_the_solver_file_is_one(example: Any) -> None:
    param = read_solver(REPO / "tools/embedded/solver.prototxt")
    assert (param.net, param.max_iter > 0) == ("train_val.prototxt", True)


def test_the_shipped_net_has_the_trained_convolutions(example: Any) -> None:
    import network

    net = read_net(REPO / "models/quickstart/net.prototxt")
    widths = {
        layer.name: layer.convolution_param.num_output
        for layer in net.layer
        if layer.type == "Convolution"
    }
    assert widths == network.CONVOLUTIONS


def test_tiles_do_not_depend_on_the_number_of_processes(workshop: Path, example: Any) -> None:
    import tiles

    plan = tiles.Plan(
        CLASSES, canvases=2, canvas_side=96, side=48, files=2, per_file=3, test_per_class=4
    )
    tiles.write(workshop / "again", plan, processes=2)
    for name in ("train_00.h5", "train_01.h5", "test_00.h5"):
        with (
            h5py.File(workshop / "tiles" / name) as one,
            h5py.File(workshop / "again" / name) as two,
        ):
            np.testing.assert_array_equal(one["tile"][:], two["tile"][:])
            np.testing.assert_array_equal(one["tile_label"][:], two["tile_label"][:])


def test_test_tiles_are_none_of_the_training(workshop: Path) -> None:
    with h5py.File(workshop / "tiles/test_00.h5") as file:
        test = file["tile"][:].reshape(len(file["tile"]), -1)
    for name in ("train_00.h5", "train_01.h5"):
        with h5py.File(workshop / "tiles" / name) as file:
            train = file["tile"][:].reshape(len(file["tile"]), -1)
        assert not (test[:, None] == train[None]).all(-1).any()


def spoil(side: int, phase: int) -> tuple[Any, list[Blob], list[Blob]]:
    """The layer's class with its blobs: four tiles of random pixels."""
    import spoil as module

    from nst.backend import get_backend

    backend, rng = get_backend("numpy"), default_rng(3)
    bottom = [Blob(backend, (4, 3, 40, 40)), Blob(backend, (4,))]
    top = [Blob(backend) for _ in range(2)]
    bottom[0].data[...] = rng.uniform(0, 255, bottom[0].shape)
    bottom[1].data[...] = [3, 1, 4, 1]
    layer = module.Spoil()
    layer.param_str, layer.phase = f'{{"side": {side}, "seed": 5, "again": true}}', phase
    layer.setup(bottom, top)
    layer.reshape(bottom, top)
    return layer, bottom, top


def test_the_test_sees_the_middle_of_a_tile(example: Any) -> None:
    layer, bottom, top = spoil(32, TEST)
    layer.forward(bottom, top)
    mean = np.array([104, 117, 123])[:, None, None]
    np.testing.assert_allclose(top[0].data, bottom[0].data[:, :, 4:36, 4:36] - mean, rtol=1e-5)
    np.testing.assert_array_equal(top[1].data, [3, 1, 4, 1])


def test_the_second_turn_follows_the_gradient_of_the_first(example: Any) -> None:
    layer, bottom, top = spoil(32, TRAIN)
    layer.forward(bottom, top)
    gradient = default_rng(4).normal(size=top[0].shape).astype(np.float32)
    top[0].diff[...] = gradient
    layer.backward(top, [True, False], bottom)
    bottom[0].data[...] = 0  # the next tiles, which this turn does not use
    bottom[1].data[...] = 9
    layer.forward(bottom, top)
    clean = layer.crops - np.array([104, 117, 123], np.float32)[:, None, None]
    step = top[0].data - clean
    np.testing.assert_array_equal(top[1].data, [3, 1, 4, 1])
    sizes = np.sqrt((step**2).mean((1, 2, 3)) / (gradient**2).mean((1, 2, 3)))
    np.testing.assert_allclose(step, sizes[:, None, None, None] * gradient, atol=1e-4)
    assert (np.sqrt((step**2).mean((1, 2, 3))) > 0.49).all()


def test_the_third_turn_takes_new_tiles(example: Any) -> None:
    layer, bottom, top = spoil(32, TRAIN)
    for turn in range(3):
        bottom[1].data[...] = turn
        layer.forward(bottom, top)
        top[0].diff[...] = 1
        layer.backward(top, [True, False], bottom)
    np.testing.assert_array_equal(top[1].data, [2, 2, 2, 2])


def test_folding_changes_nothing_that_is_computed(workshop: Path, example: Any) -> None:
    import fold
    import network

    snapshot = workshop / "run_iter_8.caffemodel"
    trained = Net(workshop / "train_val.prototxt", phase=TEST, allow_python=True)
    trained.copy_from(str(snapshot))
    trained.forward_from_to()
    net = Net(REPO / "models/quickstart/net.prototxt", phase=TEST)
    net.copy_weights(fold.folded(snapshot))
    net.blobs["data"].reshape(*trained.blobs["data"].shape)
    net.forward(data=trained.blobs["data"].to_host())
    for name in network.CONVOLUTIONS:
        expected = trained.blobs[name].to_host()
        error = np.abs(net.blobs[name].to_host() - expected).max() / np.abs(expected).max()
        assert error < 1e-4, name


def test_the_weights_that_ship_have_one_mean_activation(workshop: Path, example: Any) -> None:
    import fold

    net = Net(REPO / "models/quickstart/net.prototxt", phase=TEST)
    tiles = fold.some_tiles(workshop / "tiles/test_00.h5", 8)
    fold.rescaled(net, fold.folded(workshop / "run_iter_8.caffemodel"), tiles)
    net.forward(data=tiles)
    means = [float(net.blobs[name].to_host().mean()) for name in net.blobs if "conv" in name]
    np.testing.assert_allclose(means, 100, rtol=1e-3)


def test_the_confusion_table_counts_families(example: Any) -> None:
    import confusion

    families = len(confusion.FAMILIES)
    labels = np.array([0, 0, 0, families, 6])  # strokes four times, dabs once
    named = np.array([0, 1, 6, families, 6])
    table = confusion.confusion(labels, named)
    strokes, dabs = confusion.NAMES.index("strokes"), confusion.NAMES.index("dabs")
    assert (table[strokes, strokes], table[strokes, dabs], table[dabs, dabs]) == (75, 25, 100)
    assert "| strokes | 2 | 50% | 75% |" in confusion.report(labels, named)


def test_a_snapshot_answers_for_every_held_out_tile(workshop: Path, example: Any) -> None:
    import confusion

    labels, named = confusion.answers(
        workshop / "train_val.prototxt", workshop / "run_iter_8.caffemodel", 3
    )
    assert labels.tolist() == [0, 1, 2] * 4
    assert set(named.tolist()) <= {0, 1, 2}
