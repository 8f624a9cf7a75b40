"""Who feeds whom, and who needs backward."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nst.backend import get_backend
from nst.errors import NetError
from nst.io.prototxt import parse_net, read_net
from nst.net import Net

DATA = 'layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
IP = "inner_product_param { num_output: 3 }"


def build(text: str) -> Net:
    return Net(parse_net(text), backend=get_backend("numpy"))


def needs(net: Net) -> dict[str, bool]:
    names = [planned.name for planned in net.wiring.layers]
    return dict(zip(names, net.backward_plan.layers, strict=True))


def test_without_a_loss_nothing_runs_backward() -> None:
    net = build(f'{DATA} layer {{ name: "a" type: "InnerProduct" bottom: "x" top: "y" {IP} }}')

    assert needs(net) == {"data": False, "a": False}


def test_force_backward_runs_everything_backward() -> None:
    net = build(
        f'force_backward: true {DATA} layer {{ name: "a" type: "InnerProduct" bottom: "x" top: "y" '
        f"param {{ lr_mult: 0 }} {IP} }}"
    )

    assert needs(net) == {"data": True, "a": True}
    assert net.backward_plan.bottoms[1] == (True,)
    assert net.backward_plan.params[1] == (True, True)


def test_lr_mult_0_freezes_and_only_what_leads_from_a_learned_layer_runs() -> None:
    net = build(
        f"""{DATA}
        layer {{ name: "frozen" type: "InnerProduct" bottom: "x" top: "y"
                 param {{ lr_mult: 0 }} param {{ lr_mult: 0 }} {IP} }}
        layer {{ name: "learned" type: "InnerProduct" bottom: "y" top: "z" {IP} }}
        layer {{ name: "loss" type: "EuclideanLoss" bottom: "z" bottom: "x" top: "l" }}"""
    )

    assert needs(net)["frozen"] is False
    assert needs(net)["learned"] is True
    learned = net.layer_index("learned")
    assert net.backward_plan.bottoms[learned] == (False,)


def test_frozen_weights_never_get_memory_for_a_gradient() -> None:
    net = build(
        """
        layer { name: "w" type: "Parameter" top: "x" parameter_param { shape { dim: 2 dim: 3 } } }
        layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "frozen" type: "InnerProduct" bottom: "x" top: "y"
                param { lr_mult: 0 } param { lr_mult: 0 } inner_product_param { num_output: 3 } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "l" }
        """
    )
    net.params["frozen"][0].data[...] = 1
    net.blobs["t"].data[...] = 1

    net.clear_param_diffs()
    net.forward_backward()

    assert not any(blob.has_diff for blob in net.params["frozen"])
    assert net.params["w"][0].diff.any()


def test_propagate_down_false_cuts_the_gradient_off() -> None:
    text = f"""{DATA}
        layer {{ name: "a" type: "InnerProduct" bottom: "x" top: "y" {IP} }}
        layer {{ name: "b" type: "InnerProduct" bottom: "y" top: "z" propagate_down: false {IP} }}
        layer {{ name: "loss" type: "EuclideanLoss" bottom: "z" bottom: "x" top: "l" }}"""

    cut = needs(build(text))
    uncut = needs(build(text.replace("propagate_down: false", "")))

    assert (cut["a"], cut["b"]) == (False, True)
    assert (uncut["a"], uncut["b"]) == (True, True)


def test_outputs_are_alphabetical_and_automatic_loss_tops_are_not_among_them() -> None:
    net = build(
        f"""{DATA}
        layer {{ name: "b" type: "InnerProduct" bottom: "x" top: "zz" {IP} }}
        layer {{ name: "a" type: "InnerProduct" bottom: "x" top: "aa" {IP} }}
        layer {{ name: "loss" type: "EuclideanLoss" bottom: "x" bottom: "x" }}"""
    )

    assert net.outputs == ["aa", "zz"]
    assert "(automatic)" in net.blobs


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            'layer { name: "a" type: "ReLU" bottom: "x" top: "y" }'
            'layer { name: "b" type: "ReLU" bottom: "x" top: "y" }',
            "Top blob 'y' produced by multiple sources",
        ),
        (
            'layer { name: "b" type: "ReLU" bottom: "x" top: "y" }'
            'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }',
            "produced by multiple sources",  # a branch before an in-place layer is illegal in Caffe
        ),
        (
            'layer { name: "a" type: "Frobnicate" }',
            r"Unknown layer type: Frobnicate \(known types: ",
        ),
        ('layer { name: "a" type: "Convolutoin" }', r"Did you mean 'Convolution'\?"),
        (
            'layer { name: "a" type: "ReLU" bottom: "x" bottom: "x" top: "y" }',
            r"ReLU Layer takes 1 bottom blob\(s\) as input \(got 2, expected exactly 1\)",
        ),
        (
            'layer { name: "a" type: "ReLU" bottom: "x" top: "y" top: "z" }',
            r"ReLU Layer produces 1 top blob\(s\) as output",
        ),
        (
            'layer { name: "a" type: "Convolution" top: "y" }',
            r"Convolution Layer takes at least 1 bottom blob\(s\)",
        ),
        (
            'layer { name: "a" type: "ReLU" bottom: "x" top: "y" propagate_down: true '
            "propagate_down: true }",
            "propagate_down param must be specified either 0 or bottom_size times",
        ),
        (
            'layer { name: "a" type: "ReLU" bottom: "x" top: "y" loss_weight: 1 loss_weight: 2 }',
            "loss_weight must be unspecified or specified once per top blob",
        ),
        (
            'layer { name: "a" type: "ReLU" bottom: "x" top: "y" param { } }',
            "Too many params specified for layer a",
        ),
    ],
)
def test_a_wrongly_wired_net_is_refused_in_words_a_caffe_user_knows(
    layers: str, message: str
) -> None:
    with pytest.raises(NetError, match=message):
        build(DATA + layers)


def shared_cases() -> list[str]:
    folder = Path(__file__).resolve().parents[3] / "shared/oracle/layers"
    listing = folder / "need_backward.json"
    return sorted(json.loads(listing.read_text())) if listing.is_file() else ["(../shared missing)"]


@pytest.mark.shared
@pytest.mark.parametrize("case", shared_cases())
def test_need_backward_is_what_the_real_caffe_logged(case: str, shared: Path) -> None:
    folder = shared / "oracle/layers"
    expected = json.loads((folder / "need_backward.json").read_text())[case]
    param = read_net(folder / f"{case}.prototxt")
    param.force_backward = False  # Caffe logged its decision before force_backward
    stages, phase = [], 1
    if (folder / f"{case}.npz").is_file():
        meta = json.loads(str(np.load(folder / f"{case}.npz")["meta"]))
        stages, phase = meta["stages"], 0 if meta["phase"] == "TRAIN" else 1

    net = Net(param, backend=get_backend("numpy"), phase=phase, stages=stages)

    logged = expected["logged_need_backward"]
    ours = needs(net)
    # Caffe also logs the layers of the net that RNN and LSTM unroll inside themselves; ours unroll in place.
    assert ours == {name: logged[name] for name in ours}
    assert net.outputs == [name for name in expected["outputs"] if name in net.blobs]
