from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from nst.errors import WeightsError
from nst.io.caffemodel import Weights
from nst.io.weights import convert, describe, read_weights, weights_inside, write_weights
from nst.proto import NetParameter

WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "weights"


def lists(weights: Weights) -> dict[str, list[object]]:
    return {
        name: [blob and blob.array.tolist() for blob in blobs] for name, blobs in weights.items()
    }


def test_the_signature_decides_and_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.caffemodel").write_bytes((WEIGHTS / "init.caffemodel.h5").read_bytes())
    (tmp_path / "b.h5").write_bytes((WEIGHTS / "init.caffemodel").read_bytes())
    first, second = (
        read_weights(tmp_path / "a.caffemodel"),
        read_weights(tmp_path / "b.h5", {"ip1"}),
    )
    assert first["ip1"][0] is not None
    assert lists(first)["ip1"] == lists(second)["ip1"]
    assert list(second) == ["ip1"]


@pytest.mark.parametrize("name", ["out.caffemodel", "out.caffemodel.h5"])
def test_both_formats_give_back_what_was_written(tmp_path: Path, name: str) -> None:
    net = NetParameter.FromString((WEIGHTS / "init.caffemodel").read_bytes())
    write_weights(tmp_path / name, net)
    assert lists(read_weights(tmp_path / name)) == lists(read_weights(WEIGHTS / "init.caffemodel"))


def test_converting_there_and_back_keeps_everything(tmp_path: Path) -> None:
    convert(WEIGHTS / "init.caffemodel", tmp_path / "w.h5")
    convert(tmp_path / "w.h5", tmp_path / "w.caffemodel")
    assert lists(read_weights(tmp_path / "w.caffemodel")) == lists(
        read_weights(WEIGHTS / "init.caffemodel")
    )


def test_converting_keeps_types_and_drops_legacy_shapes(shared: Path, tmp_path: Path) -> None:
    convert(shared / "oracle" / "legacy" / "v1_genuine_like.caffemodel", tmp_path / "w.caffemodel")
    row = describe(tmp_path / "w.caffemodel")[1]
    assert (row.name, row.type) == ("conv1_1", "Convolution")


def test_converting_what_only_the_net_knows_is_refused(tmp_path: Path) -> None:

    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["data/b/1"] = np.ones(1, "f4")
    with pytest.raises(WeightsError, match="layer 'b': has a shared blob"):
        convert(tmp_path / "w.h5", tmp_path / "w.caffemodel")


def test_blobs_in_a_description_must_have_as_many_values_as_their_shape_says() -> None:
    net = NetParameter()
    layer = net.layer.add(name="ip")
    layer.blobs.add(data=[1, 2, 3]).shape.dim[:] = [2, 3]

    with pytest.raises(WeightsError, match=r"layer 'ip': a blob of shape \(2, 3\) has 3 values"):
        weights_inside(net)
