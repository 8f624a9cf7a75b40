"""Bad input is refused early, by layer name, with what was got and Caffe's recognisable wording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.gradient_cases import normal
from support.layer_rig import LayerRig

from nst.backend import Backend
from nst.errors import NetError, NstError
from nst.io.prototxt import read_net
from nst.layers import layer_class
from nst.net import Net

SHARED = Path(__file__).resolve().parents[3] / "shared/oracle/errors"

SETUP = [
    ("Concat", "concat_param { axis: 1 concat_dim: 1 }", [(2, 3)], "Either axis or concat_dim"),
    ("Concat", "concat_param { axis: 7 }", [(2, 3)], "axis 7 out of range for 2-D blob"),
    ("Concat", "", [(2, 3, 6), (2, 3, 5)], "same shape, except at concat_axis"),
    ("Concat", "", [(2, 3), (2, 3, 5)], "must have the same #axes"),
    ("InnerProduct", "", [(2, 3)], "num_output must be set"),
    ("LRN", "lrn_param { local_size: 4 }", [(1, 3, 2, 2)], "only supports odd values.*got 4"),
    ("LRN", "", [(3, 2)], r"Input must have 4 axes.*\(3, 2\)"),
    ("Softmax", "softmax_param { axis: 4 }", [(2, 3)], "axis 4 out of range"),
    ("Exp", "exp_param { base: 0 }", [(2,)], "base must be strictly positive.*got 0"),
    ("Log", "log_param { base: 1 }", [(2,)], "base must be strictly positive.*got 1"),
    ("Clip", "", [(2,)], "got no min and no max"),
    ("Clip", "clip_param { min: 2 max: 1 }", [(2,)], "range is empty"),
    ("PReLU", "", [(2,)], "Number of axes of bottom blob must be >=2"),
    ("Bias", "bias_param { num_axes: -2 }", [(2, 3)], "num_axes must be non-negative, or -1"),
    ("Bias", "bias_param { num_axes: 2 }", [(2, 3)], "extends past bottom"),
    ("Scale", "scale_param { axis: 3 }", [(2, 3)], "axis 3 out of range"),
    ("Scale", "", [(2, 3, 4), (4,)], r"dimension mismatch.*\(4,\) for bottom \(2, 3, 4\)"),
    ("BatchNorm", "param { lr_mult: 1 }", [(2, 3)], "Cannot configure batch normalization"),
    ("MVN", "", [(4,)], "bottom needs batch and channel axes"),
    ("Embed", "embed_param { num_output: 2 }", [(2,)], "input_dim must be positive"),
    ("Embed", "embed_param { input_dim: 2 }", [(2,)], "num_output must be positive"),
    ("Flatten", "flatten_param { axis: 2 end_axis: 1 }", [(2, 3, 4)], "end_axis lies before axis"),
    ("Flatten", "flatten_param { axis: 5 }", [(2, 3)], "axis 5 out of range"),
    (
        "Reshape",
        "reshape_param { shape { dim: -1 dim: -1 } }",
        [(2, 3)],
        "at most a single .1. value of -1",
    ),
    ("Reshape", "reshape_param { shape { dim: -1 dim: 5 } }", [(2, 3)], "must be divisible by"),
    ("Reshape", "reshape_param { shape { dim: 5 } }", [(2, 3)], "output count must match input"),
    (
        "Reshape",
        "reshape_param { shape { dim: 2 dim: 3 dim: 0 } }",
        [(2, 3)],
        "no corresponding bottom axis to copy",
    ),
    ("Reshape", "reshape_param { axis: 4 }", [(2, 3)], "axis 4 out of range"),
    ("Reshape", "reshape_param { axis: 1 num_axes: 2 }", [(2, 3)], "end_axis = axis . num_axes"),
    ("Reshape", "reshape_param { num_axes: -2 }", [(2, 3)], "num_axes must be >= 0, or -1"),
    ("Reshape", "reshape_param { shape { dim: -3 } }", [(2, 3)], "negative size"),
    ("Slice", "slice_param { slice_point: 1 slice_point: 2 }", [(2, 3)], "one less|once less"),
    ("Slice", "slice_param { axis: 1 slice_dim: 1 }", [(2, 3)], "Either axis or slice_dim"),
    ("Eltwise", "eltwise_param { coeff: 1 }", [(2,), (2,)], "one coefficient per bottom blob"),
    (
        "Eltwise",
        "eltwise_param { operation: PROD coeff: [1, 2] }",
        [(2,), (2,)],
        "only takes coefficients for summation.*PROD",
    ),
    ("Eltwise", "", [(2, 3), (2, 4)], r"bottom\[0\]: 2 3 \(6\), bottom\[1\]: 2 4 \(8\)"),
    ("Tile", "", [(2, 3)], "Number of tiles must be specified"),
    ("Tile", "tile_param { tiles: 0 }", [(2, 3)], "Number of tiles must be positive"),
    ("ArgMax", "argmax_param { top_k: 9 }", [(2, 3)], "top_k must be less than.*got 9"),
    ("ArgMax", "argmax_param { top_k: 0 }", [(2, 3)], "top_k must not be less than 1"),
    ("Filter", "", [(2, 3), (3,)], "same 0th dimension as the selector"),
    ("Filter", "", [(2, 3), (2, 3)], "must be singletons"),
    ("BatchReindex", "", [(2, 3), (2, 1)], "must have 1 axis"),
    ("Crop", "crop_param { offset: [1, 2, 3] }", [(1, 1, 4, 4), (1, 1, 2, 2)], "number of offset"),
    ("Crop", "crop_param { offset: 3 }", [(1, 1, 4, 4), (1, 1, 2, 2)], "out-of-bounds"),
    ("SPP", "", [(1, 1, 4, 4)], "pyramid_height must be set"),
    ("Im2col", "convolution_param { kernel_size: 9 }", [(1, 1, 4, 4)], "kernel does not fit"),
    ("SoftmaxWithLoss", "", [(2, 3, 6, 6), (2,)], "Number of labels must match number of pred"),
    ("SigmoidCrossEntropyLoss", "", [(2, 3), (2, 2)], "must have the same count"),
    ("HingeLoss", "", [(2, 3), (3,)], "one label per example"),
    ("MultinomialLogisticLoss", "", [(2, 3), (3,)], "one label per example"),
    ("InfogainLoss", "", [(2, 3), (2,)], "Infogain matrix source must be specified"),
    ("InfogainLoss", "", [(2, 3), (2,), (2, 2)], "gains must be a square of the classes"),
    ("ContrastiveLoss", "", [(2, 3), (2, 4), (2,)], "needs two blobs of shape"),
    ("ContrastiveLoss", "", [(2, 3, 4, 4), (2, 3, 4, 4), (2,)], "Flatten pictures first"),
    ("Accuracy", "accuracy_param { top_k: 9 }", [(2, 3), (2,)], "number of classes.*got 9"),
    ("Event", "event_param { gate: TARGET_NONZERO }", [(2,)], "needs a second bottom"),
    ("Event", "", [(2, 3), (4,)], "must have the same count"),
    ("TVLoss", "", [(2, 3)], "total variation needs"),
    ("RNN", "", [(3, 2, 4), (3, 2)], "num_output must be positive"),
    ("LSTM", "recurrent_param { num_output: 2 }", [(3, 2, 4), (2, 3)], "bottom.1. must have ex"),
    ("LSTM", "recurrent_param { num_output: 2 }", [(3,), (3,)], "at least 2 axes"),
    (
        "LSTM",
        "recurrent_param { num_output: 2 expose_hidden: true }",
        [(3, 2, 4), (3, 2)],
        "takes 4 bottoms, or 5 with a static input, and 3 tops",
    ),
    (
        "RNN",
        "recurrent_param { num_output: 2 }",
        [(3, 2, 4), (3, 2), (3, 1)],
        "static input needs one row per stream",
    ),
    ("DummyData", "dummy_data_param { num: 1 shape { dim: 1 } }", [], "not both"),
    ("DummyData", "dummy_data_param { num: 1 channels: 1 height: 1 }", [], "'width' once"),
    ("MemoryData", "memory_data_param { batch_size: 1 }", [], "must be specified and positive"),
    ("HDF5Data", "hdf5_data_param { source: 'nolist.txt' batch_size: 1 }", [], "nolist.txt"),
    ("HDF5Data", "hdf5_data_param { source: 'x' }", [], "batch_size must be positive"),
    ("HDF5Output", "", [(2,), (2,)], "needs a file_name"),
    ("Data", "data_param { source: 'x' batch_size: 1 }", [], "LevelDB is not supported"),
    ("ImageData", "image_data_param { new_height: 3 }", [], "new_height and new_width"),
    ("ImageData", "image_data_param { source: 'nolist.txt' }", [], "Failed to open source file"),
    ("WindowData", "window_data_param { batch_size: 1 }", [], "crop_size must be positive"),
    ("Python", "python_param { module: 'm' layer: 'L' }", [], "allow_python=True"),
]

TWO_TOPS = {"MemoryData", "ImageData", "WindowData", "LSTMUnit"}
NO_TOPS = {"HDF5Output"}


@pytest.mark.parametrize(
    ("kind", "fields", "shapes", "wording"),
    SETUP,
    ids=[f"{kind}-{number}" for number, (kind, *_) in enumerate(SETUP)],
)
def test_what_does_not_fit_is_refused_by_layer_name(
    kind: str, fields: str, shapes: list[tuple[int, ...]], wording: str, backend: Backend
) -> None:
    tops = 2 if kind in TWO_TOPS else 0 if kind in NO_TOPS else 1

    with pytest.raises(NstError, match=f"(?s)layer 'layer': .*({wording})"):
        LayerRig(
            backend, f'type: "{kind}" {fields}', [normal(*shape) for shape in shapes], tops=tops
        )


@pytest.mark.parametrize(
    ("kind", "bottoms", "tops", "wording"),
    [
        (
            "ReLU",
            2,
            1,
            r"ReLU Layer takes 1 bottom blob\(s\) as input \(got 2, expected exactly 1\)",
        ),
        ("ReLU", 1, 2, r"ReLU Layer produces 1 top blob\(s\) as output \(got 2"),
        ("Convolution", 0, 1, r"Convolution Layer takes at least 1 bottom blob\(s\) as input"),
        ("Eltwise", 1, 1, "Eltwise Layer takes at least 2 bottom"),
    ],
)
def test_a_wrong_number_of_blobs_is_refused(
    kind: str, bottoms: int, tops: int, wording: str, backend: Backend
) -> None:
    with pytest.raises(NetError, match=f"layer 'layer': {wording}"):
        LayerRig(backend, f'type: "{kind}"', [normal(2, 3)] * bottoms, tops=tops)


@pytest.mark.parametrize(
    ("text", "bottoms"),
    [
        ('type: "SoftmaxWithLoss"', [normal(2, 3), [0.0, 3]]),
        ('type: "SoftmaxWithLoss" loss_param { ignore_label: 255 }', [normal(2, 3), [255.0, -1]]),
        ('type: "HingeLoss"', [normal(2, 3), [0.0, 3]]),
        ('type: "MultinomialLogisticLoss"', [normal(2, 3) ** 2, [0.0, -1]]),
        ('type: "Accuracy"', [normal(2, 3), [0.0, 3]]),
        ('type: "InfogainLoss"', [normal(2, 3), [0.0, 3], normal(3, 3)]),
        ('type: "Embed" embed_param { num_output: 2 input_dim: 3 }', [[0.0, 3]]),
        ('type: "BatchReindex"', [normal(2, 3), [0.0, 2]]),
    ],
)
def test_an_index_out_of_range_is_refused_instead_of_reading_wild_memory(
    text: str, bottoms: list[np.ndarray], backend: Backend
) -> None:
    rig = LayerRig(backend, text, bottoms)

    with pytest.raises(NetError, match=r"layer 'layer': blob 'b.' holds an index out of range"):
        rig.forward()


@pytest.mark.parametrize(
    ("text", "bottoms", "wanted"),
    [
        ('type: "SoftmaxWithLoss"', [normal(2, 3), [0.0, 1]], [True, True]),
        ('type: "ContrastiveLoss"', [normal(2, 3), normal(2, 3), [0.0, 1]], [True] * 3),
        ('type: "Embed" embed_param { num_output: 2 input_dim: 3 }', [[0.0, 1]], [True]),
        ('type: "BatchReindex"', [normal(2, 3), [0.0, 1]], [True, True]),
        ('type: "Filter"', [normal(2, 3), [0.0, 1]], [True, True]),
        (
            'type: "LSTM" recurrent_param { num_output: 2 }',
            [normal(3, 2, 4), np.ones((3, 2))],
            [True, True],
        ),
    ],
)
def test_a_gradient_of_labels_and_indices_is_refused(
    text: str, bottoms: list[np.ndarray], wanted: list[bool], backend: Backend
) -> None:
    rig = LayerRig(backend, text, bottoms)
    rig.forward()

    with pytest.raises(NetError, match=r"layer 'layer': .*([Cc]an't|[Cc]annot)"):
        rig.backward([1.0] * len(rig.top), wanted)


def test_an_unknown_type_lists_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(
        NetError, match=r"Unknown layer type: Convolutin \(known types: AbsVal.*Did"
    ):
        layer_class("Convolutin", layer="x")


@pytest.mark.parametrize("spelling", ["EuclideanLoss", "EUCLIDEAN_LOSS", "euclideanloss"])
def test_types_are_found_in_any_case(spelling: str) -> None:
    assert layer_class(spelling).type == "EuclideanLoss"


ACCEPTED = {
    "duplicate_layer_name": "Caffe accepts it too; a name finds the first",
    "softmaxloss_two_tops": "Caffe's two-top form cannot be set up; this one works",
    "softmaxloss_two_tops_default": "Caffe's two-top form cannot be set up; this one works",
    "input_no_shape": "Caffe dies on first touch; here the top is a scalar until it is reshaped",
    "blob_too_large": "Caffe counts in int; here memory is made on first touch",
}
"""Recorded cases that are no error here, and why."""

RECORDED = [path for path in SHARED.glob("*.prototxt") if not path.stem.startswith("solver_")]
REFUSED = sorted(path for path in RECORDED if path.stem not in ACCEPTED) or [Path("missing")]


@pytest.mark.shared
@pytest.mark.parametrize("prototxt", REFUSED, ids=lambda path: path.stem)
def test_each_recorded_abort_of_caffe_is_one_of_our_exceptions(
    prototxt: Path, backend: Backend, shared: Path
) -> None:
    with pytest.raises(NstError, match=r"layer '|blob '|\(layer|known types|'input_dim'"):
        Net(read_net(prototxt), backend=backend, allow_python=True)


@pytest.mark.shared
@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_documented_as_accepted_builds(name: str, backend: Backend, shared: Path) -> None:
    Net(read_net(SHARED / f"{name}.prototxt"), backend=backend)
