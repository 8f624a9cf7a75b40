"""VGG19's small sister against the real Caffe: forward, whole, partial and segmented backward."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.layer_rig import write

from nst.backend import Backend
from nst.core import TEST
from nst.pycaffe import Net

DATA = Path(__file__).resolve().parent.parent / "data/vgg_small"
TOLERANCE = 1e-5  # of the size in a Pair

Values = NDArray[Any]
Pair = tuple[str, Values, Values, float]
"""Key, ours, Caffe's, and the size against which their difference is held."""
Record = dict[str, Values]

SHARED_CASES = [
    ("vgg_small_max", "vgg_small_max_32x32", "vgg_small_conv.caffemodel", "pool5"),
    ("vgg_small_max", "vgg_small_max_32x32", "vgg_small_conv.caffemodel.h5", "pool5"),
    ("vgg_small_max", "vgg_small_max_45x37", "vgg_small_conv.caffemodel", "pool5"),
    ("vgg_small_max", "vgg_small_max_45x37", "vgg_small_fc.caffemodel", "pool5"),
    ("vgg_small_fc", "vgg_small_fc_32x32", "vgg_small_fc.caffemodel", "fc8"),
    ("vgg_small_v1", "vgg_small_v1_32x32", "vgg_small_fc.caffemodel", "fc8"),
]
"""Net, record, weights, and the layer from which run A is held against the record: below the softmax, whose
gradient at a probability of 0.99999 is rounding noise (Caffe's own is 6e-4 off the float64 result)."""


def record_of(path: Path) -> Record:
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


def part(record: Record, prefix: str) -> Record:
    """The entries below `prefix`, by the rest of their keys."""
    return {
        key.removeprefix(prefix): values for key, values in record.items() if key.startswith(prefix)
    }


def after_forward(prototxt: Path, weights: Path, record: Record, backend: Backend) -> Net:
    net = Net(prototxt, TEST, weights=weights, backend=backend)
    net.blobs["data"].reshape(*record["in/data"].shape)
    write(net.blobs["data"], "data", record["in/data"])
    net.forward()
    return net


def largest(values: Values) -> float:
    return float(np.abs(values).max())


def largest_sum_over_places(diff: Values) -> float:
    """The size of the terms of a bias gradient: it sums a diff over all places, and most of it cancels."""
    return float(np.abs(diff).sum(axis=(0, *range(2, diff.ndim))).max())


def forward_pairs(net: Net, record: Record) -> Iterator[Pair]:
    for name, values in part(record, "out/").items():
        yield f"out/{name}", net.blobs[name].to_host(), values, largest(values)


def whole_backward_pairs(net: Net, record: Record, top: str) -> Iterator[Pair]:
    """Run A from the recorded gradient of blob `top`, which is the layer of that name, all the way down."""
    net.clear_param_diffs()
    write(net.blobs[top], "diff", record[f"A/grad/{top}"])
    net.backward(start=top)
    for name, values in part(record, "A/grad/").items():
        yield f"A/grad/{name}", net.blobs[name].diff_to_host(), values, largest(values)
    for key, values in part(record, "A/pgrad/").items():
        layer, _, index = key.partition("/")
        sizes = (largest(values), largest_sum_over_places(record[f"A/grad/{layer}"]))
        ours = net.params[layer][int(index)].diff_to_host()
        yield f"A/pgrad/{key}", ours, values, sizes[int(index)]


def partial_backward_pairs(net: Net, record: Record, run: str) -> Iterator[Pair]:
    """Runs B1 to B4: backward from a layer in the middle."""
    for name, values in part(record, f"{run}/topdiff/").items():
        write(net.blobs[name], "diff", values)
    net.backward(start=str(record[f"{run}/start"]))
    caffes = record[f"{run}/grad/data"]
    yield f"{run}/grad/data", net.blobs["data"].diff_to_host(), caffes, largest(caffes)


def segmented_pairs(net: Net, record: Record) -> Iterator[Pair]:
    """Style transfer's way: down to the next tap, add to its diff, and on from there."""
    chain = [str(name) for name in record["C/chain"]]
    net.forward(end=chain[0])
    for name, values in part(record, "C/out_pre_relu/").items():
        yield f"C/out_pre_relu/{name}", net.blobs[name].to_host(), values, largest(values)
    write(net.blobs[chain[0]], "diff", np.zeros(net.blobs[chain[0]].shape))
    for layer, below in zip(chain, [*chain[1:], None], strict=True):
        blob = net.blobs[layer]
        write(blob, "diff", blob.diff_to_host() + record[f"C/add/{layer}"])
        net.backward(start=layer, end=below)
    caffes = record["C/grad/data"]
    yield "C/grad/data", net.blobs["data"].diff_to_host(), caffes, largest(caffes)


def check(pairs: Iterator[Pair]) -> None:
    compared = 0
    for key, ours, caffes, size in pairs:
        compared += 1
        np.testing.assert_allclose(ours, caffes, rtol=0, atol=TOLERANCE * size, err_msg=key)
    assert compared


def kept_case(backend: Backend) -> tuple[Net, Record]:
    """The case that is in the repository."""
    record = record_of(DATA / "vgg_small_max_32x32.npz")
    prototxt, weights = DATA / "vgg_small_max.prototxt", DATA / "vgg_small_conv.caffemodel"
    return after_forward(prototxt, weights, record, backend), record


def test_forward_gives_caffes_values(backend: Backend) -> None:
    net, record = kept_case(backend)

    check(forward_pairs(net, record))


def test_backward_gives_caffes_gradients_of_blobs_and_parameters(backend: Backend) -> None:
    net, record = kept_case(backend)

    check(whole_backward_pairs(net, record, "pool5"))


@pytest.mark.parametrize("run", ["B1", "B2"])
def test_backward_from_a_layer_in_the_middle_gives_caffes_gradient(
    backend: Backend, run: str
) -> None:
    net, record = kept_case(backend)

    check(partial_backward_pairs(net, record, run))


def test_backward_in_segments_gives_caffes_gradient(backend: Backend) -> None:
    net, record = kept_case(backend)

    check(segmented_pairs(net, record))


@pytest.mark.shared
@pytest.mark.parametrize(("net_name", "record_name", "weights", "top"), SHARED_CASES)
def test_every_recorded_number_of_every_spelling_is_caffes(
    backend: Backend, shared: Path, net_name: str, record_name: str, weights: str, top: str
) -> None:
    folder = shared / "oracle/vgg_small"
    record = record_of(folder / f"{record_name}.npz")
    prototxt = folder / f"{net_name}.prototxt"

    net = after_forward(prototxt, folder / weights, record, backend)
    write(net.blobs[net.outputs[0]], "diff", record[f"A/topdiff/{net.outputs[0]}"])

    check(forward_pairs(net, record))
    check(whole_backward_pairs(net, record, top))
    for run in ("B1", "B2", "B3", "B4"):
        check(partial_backward_pairs(net, record, run))
    check(segmented_pairs(net, record))


@pytest.mark.shared
def test_a_saturated_softmax_passes_caffes_gradient_up_to_cancellation(
    backend: Backend, shared: Path
) -> None:
    folder = shared / "oracle/vgg_small"
    record = record_of(folder / "vgg_small_fc_32x32.npz")
    weights = folder / "vgg_small_fc.caffemodel"
    net = after_forward(folder / "vgg_small_fc.prototxt", weights, record, backend)

    write(net.blobs["prob"], "diff", record["A/topdiff/prob"])
    net.backward(start="prob", end="prob")

    terms = np.abs(record["out/prob"] * record["A/topdiff/prob"]).max()
    np.testing.assert_allclose(
        net.blobs["fc8"].diff_to_host(), record["A/grad/fc8"], rtol=0, atol=1e-7 * terms
    )
