"""Net's pycaffe members: recorded facts, partial runs, files, batches, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from nst.backend import Backend
from nst.errors import FileError, NetError, NstError, PrototxtError, UsageError, WeightsError
from nst.io.weights import read_weights
from nst.pycaffe import TEST, TRAIN, Net, NetSpec, to_proto
from nst.pycaffe import layers as L

DATA = Path(__file__).resolve().parent.parent / "data"
VGG = DATA / "vgg_small/vgg_small_max.prototxt"
WEIGHTS = DATA / "vgg_small/vgg_small_conv.caffemodel"
FACTS: dict[str, Any] = json.loads((DATA / "pyapi/net_facts.json").read_text())


@pytest.fixture
def vgg() -> Net:
    return Net(VGG, TEST, weights=WEIGHTS, backend="numpy", seed=1)


@pytest.fixture
def classifier() -> Net:
    """The net whose facts were recorded."""
    return Net(DATA / "vgg_small/vgg_small_fc.prototxt", TEST, backend="numpy")


def small(batch: int = 2, **options: Any) -> Net:
    """data (batch, 3) -> ip (batch, 2), filled at random."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [batch, 3]})
    n.ip = L.InnerProduct(n.data, num_output=2, weight_filler={"type": "xavier"})
    param = n.to_proto()
    param.force_backward = True
    return Net(param, phase=TEST, **{"backend": "numpy", **options})


# ---- members -----------------------------------------------------------------------------------------


def test_names_and_shapes_are_the_recorded_ones(classifier: Net) -> None:
    net = classifier
    ours = {
        "blobs": list(net.blobs),
        "params": {name: [list(b.shape) for b in blobs] for name, blobs in net.params.items()},
        "inputs": net.inputs,
        "outputs": net.outputs,
        "layer_names": net._layer_names,
        "layer_types": [layer.type for layer in net.layers],
        "top_names": dict(net.top_names),
        "bottom_names": dict(net.bottom_names),
        "blob_loss_weights": dict(net.blob_loss_weights),
    }

    assert ours == {name: FACTS[name] for name in ours}


def test_ids_point_into_the_blob_names(classifier: Net) -> None:
    conv = classifier._layer_names.index("conv1_2")

    assert [classifier._blob_names[i] for i in classifier._bottom_ids(conv)] == ["conv1_1"]
    assert [classifier._blob_names[i] for i in classifier._top_ids(conv)] == ["conv1_2"]


def test_a_layer_is_found_by_name_and_shows_its_blobs(classifier: Net) -> None:
    layer = classifier.layer_dict["conv1_1"]

    assert layer is classifier.layers[1]
    assert layer.blobs[0] is classifier.params["conv1_1"][0]


def test_callbacks_come_around_each_layer_as_recorded(classifier: Net) -> None:
    forward: list[list[Any]] = []
    backward: list[list[Any]] = []
    classifier.before_forward(lambda i: forward.append(["bf", i]))
    classifier.after_forward(lambda i: forward.append(["af", i]))
    classifier.before_backward(lambda i: backward.append(["bb", i]))
    classifier.after_backward(lambda i: backward.append(["ab", i]))

    classifier.forward(start="conv1_2", end="pool1")
    classifier.backward(start="relu1_2", end="conv1_1")

    assert forward == FACTS["callbacks_conv1_2_to_pool1"]
    assert backward == FACTS["callbacks_backward"]


def test_data_is_float32_and_stays_in_place_over_a_forward(classifier: Net) -> None:
    data = classifier.blobs["data"].data

    classifier.forward()

    assert (type(data), str(data.dtype)) == (np.ndarray, FACTS["types"]["dtype"])
    assert np.shares_memory(data, classifier.blobs["data"].data)


def test_growing_a_blob_leaves_old_views_behind_and_shrinking_does_not(classifier: Net) -> None:
    blob = classifier.blobs["data"]
    old = blob.data

    blob.reshape(*FACTS["reshape_smaller_shape"])
    kept = np.shares_memory(old, blob.data)
    blob.reshape((1, 3, 64, 64))

    assert kept
    assert np.shares_memory(old, blob.data) is not FACTS["reshape_reallocates"]


def test_data_is_filled_and_never_assigned(vgg: Net) -> None:
    with pytest.raises(AttributeError):
        vgg.blobs["data"].data = np.zeros(3)


def test_legacy_extents_have_their_names(classifier: Net) -> None:
    blob = classifier.blobs["data"]

    assert [blob.num, blob.channels, blob.height, blob.width, blob.count] == FACTS["types"][
        "legacy"
    ]


# ---- making a net ------------------------------------------------------------------------------------

STAGED = """
layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 1 } } }
layer { name: "deep" type: "ReLU" bottom: "x" top: "y" include { min_level: 2 stage: "s" } }
layer { name: "train" type: "ReLU" bottom: "x" top: "z" include { phase: TRAIN } }
"""


@pytest.mark.parametrize(
    "make",
    [
        lambda path: Net(path, TEST, 2, ["s"]),
        lambda path: Net(path, TEST, level=2, stages=["s"]),
        lambda path: Net(path, phase=TEST, level=2, stages=["s"]),
        lambda path: Net(str(path), TEST, 2, ["s"], None),
    ],
)
def test_phase_level_and_stages_come_by_place_or_name(
    tmp_path: Path, make: Callable[[Path], Net]
) -> None:
    (tmp_path / "net.prototxt").write_text(STAGED)

    assert "deep" in make(tmp_path / "net.prototxt")._layer_names


def test_the_phase_chooses_layers(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(STAGED)

    assert Net(tmp_path / "net.prototxt", TRAIN).outputs == ["z"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Net(str(VGG), str(WEIGHTS), TEST),
        lambda: Net(str(VGG), TEST, weights=str(WEIGHTS)),
        lambda: Net(VGG, TEST, 0, None, WEIGHTS),
    ],
)
def test_weights_come_in_the_old_order_and_the_new(make: Callable[[], Net]) -> None:
    stored = read_weights(WEIGHTS)["conv1_1"][0]

    assert stored is not None
    np.testing.assert_array_equal(make().params["conv1_1"][0].to_host(), stored.array)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Net(VGG), r"phase is missing \(got None, expected nst\.TRAIN or nst\.TEST\)"),
        (lambda: Net(VGG, WEIGHTS), "phase is missing"),
        (lambda: Net(VGG, TEST, 0, None, WEIGHTS, 7), "got 6 positional arguments"),
    ],
)
def test_wrong_arguments_are_refused(make: Callable[[], Net], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        make()


def test_blobs_inside_the_prototxt_fill_their_layer() -> None:
    data = L.Input(shape={"dim": [1, 1]})
    blob = {"shape": {"dim": [1, 1]}, "data": [2.5]}
    net = to_proto(
        L.InnerProduct(
            data, name="ip", num_output=1, inner_product_param={"bias_term": False}, blobs=[blob]
        )
    )

    assert Net(net, phase=TEST).params["ip"][0].to_host().tolist() == [[2.5]]


def test_equal_seeds_give_equal_weights() -> None:
    one, two, other = (small(seed=seed).params["ip"][0].to_host() for seed in (1, 1, 2))

    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


# ---- running -----------------------------------------------------------------------------------------


def test_a_forward_in_two_parts_gives_what_one_gives(vgg: Net, rng: np.random.Generator) -> None:
    vgg.blobs["data"].data[...] = rng.standard_normal((1, 3, 32, 32))
    whole = vgg.forward()["pool5"].copy()

    vgg.blobs["pool5"].data[...] = 0
    vgg.forward(end="relu3_1")
    vgg.forward(start="conv3_2")

    np.testing.assert_array_equal(vgg.blobs["pool5"].data, whole)


def test_a_forward_that_ends_at_a_convolution_leaves_it_before_its_relu(
    vgg: Net, rng: np.random.Generator
) -> None:
    vgg.blobs["data"].data[...] = rng.standard_normal((1, 3, 32, 32))

    vgg.forward(end="conv1_1")
    before = vgg.blobs["conv1_1"].data.copy()
    vgg.forward(start="relu1_1", end="relu1_1")

    assert before.min() < 0
    np.testing.assert_array_equal(vgg.blobs["conv1_1"].data, np.maximum(before, 0))


def test_forward_and_backward_return_the_ends_and_what_is_asked_for(vgg: Net) -> None:
    assert sorted(vgg.forward(end="pool1")) == FACTS["forward_end_returns"]
    assert sorted(vgg.forward(blobs=["conv1_1"])) == ["conv1_1", "pool5"]
    assert sorted(vgg.backward(end="conv1_1")) == FACTS["backward_end_returns"]
    assert sorted(vgg.backward(diffs=["conv2_1"])) == ["conv2_1", "data"]


def test_inputs_and_top_diffs_come_by_name(backend: Backend) -> None:
    net = small(backend=backend)
    weights = net.params["ip"][0].to_host().copy()
    x, dy = np.arange(6.0).reshape(2, 3), np.array([[1.0, 2.0], [3.0, 5.0]])

    y = backend.to_host(net.forward(data=x)["ip"]).copy()
    dx = backend.to_host(net.backward(ip=dy)["data"])

    np.testing.assert_allclose(y, x @ weights.T, rtol=1e-5)
    np.testing.assert_allclose(dx, dy @ weights, rtol=1e-5)


def test_any_number_of_records_runs_in_batches(rng: np.random.Generator) -> None:
    net = small(batch=2)
    weights = net.params["ip"][0].to_host().copy()
    x = rng.standard_normal((5, 3))
    dy = rng.standard_normal((5, 2))

    outs, grads = net.forward_backward_all(data=x, ip=dy)

    np.testing.assert_allclose(net.forward_all(data=x)["ip"], x @ weights.T, atol=1e-5)
    np.testing.assert_allclose(outs["ip"], x @ weights.T, atol=1e-5)
    np.testing.assert_allclose(grads["data"], dy @ weights, atol=1e-5)


def test_a_loss_counts_once_per_batch() -> None:
    n = NetSpec()
    n.x, n.t = (L.Input(shape={"dim": [2, 3]}) for _ in range(2))
    n.loss = L.EuclideanLoss(n.x, n.t)

    outs = Net(n.to_proto(), phase=TEST).forward_all(x=np.ones((4, 3)), t=np.zeros((4, 3)))

    assert outs["loss"].tolist() == [1.5, 1.5]


def test_numbered_runs_are_those_by_name(vgg: Net, rng: np.random.Generator) -> None:
    vgg.blobs["data"].data[...] = rng.standard_normal((1, 3, 32, 32))
    whole = vgg.forward()["pool5"].copy()

    loss = vgg._forward(0, len(vgg.layers) - 1)
    vgg.blobs["pool5"].diff[...] = 1
    vgg._backward(len(vgg.layers) - 1, 0)

    assert loss == 0
    np.testing.assert_array_equal(vgg.blobs["pool5"].data, whole)
    assert vgg.blobs["data"].diff.any()


# ---- weights -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["w.caffemodel", "w.caffemodel.h5"])
def test_saved_weights_come_back_bit_for_bit(backend: Backend, tmp_path: Path, name: str) -> None:
    saved = Net(VGG, TEST, weights=WEIGHTS, backend=backend)
    saved.save(tmp_path / name)

    loaded = Net(VGG, TEST, weights=tmp_path / name, backend=backend)

    for layer, blobs in saved.weights().items():
        for ours, theirs in zip(loaded.weights()[layer], blobs, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_save_hdf5_and_load_hdf5_do_not_look_at_the_name(vgg: Net, tmp_path: Path) -> None:
    vgg.save_hdf5(tmp_path / "weights")
    fresh = Net(VGG, TEST)

    fresh.load_hdf5(tmp_path / "weights")

    np.testing.assert_array_equal(
        fresh.params["conv5_4"][1].to_host(), vgg.params["conv5_4"][1].to_host()
    )


def test_gradients_are_saved_when_asked_for(vgg: Net, tmp_path: Path) -> None:
    vgg.params["conv1_1"][1].diff[...] = 3

    vgg.save_hdf5(tmp_path / "w.h5", diff=True)

    with h5py.File(tmp_path / "w.h5") as file:
        assert file["diff/conv1_1/1"][()].tolist() == [3] * 8


def test_several_files_are_taken_one_after_the_other(vgg: Net, tmp_path: Path) -> None:
    vgg.params["conv1_1"][1].data[...] = 9
    vgg.save(tmp_path / "second.caffemodel")

    fresh = Net(VGG, TEST, weights=f"{WEIGHTS},{tmp_path / 'second.caffemodel'}")

    assert fresh.params["conv1_1"][1].to_host().tolist() == [9] * 8


def test_shared_weights_are_one_memory(vgg: Net) -> None:
    other = Net(VGG, TEST, backend=vgg.backend)

    other.share_with(vgg)
    vgg.params["conv3_1"][0].data[...] = 4

    assert other.params["conv3_1"][0].to_host().min() == 4


# ---- refusals ----------------------------------------------------------------------------------------


def hdf5_weights(path: Path, change: Callable[[h5py.File], None]) -> Path:
    Net(VGG, TEST, weights=WEIGHTS, backend="numpy").save_hdf5(path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def without_bias(file: h5py.File) -> None:
    del file["data/conv1_1/1"]


def bias_of_rank_2(file: h5py.File) -> None:
    del file["data/conv1_1/1"]
    file["data/conv1_1/1"] = np.zeros((1, 8), np.float32)


def without_data(file: h5py.File) -> None:
    del file["data"]
    file["x"] = np.zeros(3)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (without_bias, r"Incompatible number of blobs for layer conv1_1 \(got 1.*expected 2\)"),
        (bias_of_rank_2, r"shape mismatch\. Source param shape is 1 8 \(8\); target .* is 8 \(8\)"),
        (without_data, r"the group 'data' is missing"),
    ],
    ids=["blob missing", "rank", "group missing"],
)
def test_hdf5_weights_that_do_not_fit_are_refused(
    vgg: Net, tmp_path: Path, change: Callable[[h5py.File], None], text: str
) -> None:
    path = hdf5_weights(tmp_path / "w.h5", change)

    with pytest.raises(WeightsError, match=text):
        vgg.copy_from(path)


def widened(vgg: Net) -> Net:
    """The same layers for pictures of 6 channels, without weights."""
    param = vgg.to_proto()
    param.layer[0].input_param.shape[0].dim[1] = 6
    for layer in param.layer:
        del layer.blobs[:]
    return Net(param, phase=TEST, backend="numpy")


def test_weights_of_another_shape_are_refused_in_caffes_words(vgg: Net) -> None:
    text = (
        r"Cannot copy param 0 weights from layer 'conv1_1'; shape mismatch\. Source param shape is "
        r"8 3 3 3 \(216\); target param shape is 8 6 3 3 \(432\)\. To learn this layer's parameters"
    )

    with pytest.raises(WeightsError, match=text):
        widened(vgg).copy_from(WEIGHTS)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda n: Net(VGG, TEST, weights="nowhere.caffemodel"), WeightsError, "nowhere.*No such"),
        (lambda n: n.copy_from("nowhere.caffemodel"), WeightsError, "cannot be read"),
        (lambda n: n.copy_from(VGG), WeightsError, "no caffemodel: it looks like a text"),
        (lambda n: n.load_hdf5(WEIGHTS), WeightsError, "no HDF5 weights"),
        (lambda n: Net("nowhere.prototxt", TEST), FileError, "nowhere.*No such file"),
        (lambda n: Net(DATA, TEST), FileError, "Is a directory"),
        (lambda n: Net(WEIGHTS, TEST), PrototxtError, r"vgg_small_conv\.caffemodel:\d+:"),
        (
            lambda n: n.forward(img=np.zeros((1, 3, 32, 32))),
            UsageError,
            r"Input blob arguments do not match net inputs\. \(got \['img'\], expected \['data'\]\)",
        ),
        (lambda n: n.backward(x=np.zeros(1)), UsageError, "Top diff arguments do not match"),
        (
            lambda n: n.forward(data=np.zeros((2, 3, 32, 32))),
            UsageError,
            r"Input is not batch sized \(got 2 for 'data', expected 1\)",
        ),
        (lambda n: n.forward(start="conv1_11"), NetError, "Did you mean 'conv1_1'"),
        (lambda n: n.backward(end="nolayer"), NetError, "no layer 'nolayer' in net 'VGG19_small'"),
        (lambda n: n.forward_all(), UsageError, "got no records"),
        (lambda n: n.blobs["data"].reshape(1, -3, 32, 32), NetError, r"negative size.*-3"),
    ],
)
def test_a_wrong_call_is_refused_by_name(
    vgg: Net, call: Callable[[Net], Any], kind: type[NstError], text: str
) -> None:
    with pytest.raises(kind, match=text):
        call(vgg)


def test_a_blob_of_five_axes_has_no_legacy_names(vgg: Net) -> None:
    vgg.blobs["data"].reshape(1, 3, 1, 1, 1)

    with pytest.raises(NetError, match="at most 4 axes"):
        _ = vgg.blobs["data"].num


def test_an_unknown_blob_is_a_key_error_and_a_misfit_numpys_own(vgg: Net) -> None:
    with pytest.raises(KeyError):
        _ = vgg.blobs["nope"]
    with pytest.raises(ValueError, match="could not broadcast"):
        vgg.blobs["data"].data[...] = np.zeros((1, 3, 31, 32))


def test_a_net_takes_only_weights_of_layers_that_it_has() -> None:
    data = L.Input(shape={"dim": [1, 3, 8, 8]})
    conv = L.Convolution(data, name="elsewhere", num_output=1, kernel_size=1)
    net = Net(to_proto(conv), phase=TEST, backend="numpy")
    net.params["elsewhere"][0].data[...] = 5

    net.copy_from(WEIGHTS)

    assert net.params["elsewhere"][0].data.min() == 5
