"""NetSpec: pycaffe's printed nets, names, and refusals where the mistake is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nst.errors import NstError
from nst.io.prototxt import parse_message
from nst.proto import NetParameter
from nst.pycaffe import NetSpec, to_proto
from nst.pycaffe import layers as L
from nst.pycaffe import params as P

DATA = Path(__file__).resolve().parent.parent / "data/pyapi"


def recorded(name: str) -> NetParameter:
    return parse_message((DATA / name).read_text(), NetParameter)


def top() -> Any:
    return L.Input(shape={"dim": [1, 3, 8, 8]})


def test_a_training_net_comes_out_as_recorded() -> None:
    n = NetSpec()
    n.data, n.label = L.DummyData(
        shape=[{"dim": [2, 3, 8, 8]}, {"dim": [2]}], ntop=2, transform_param={"scale": 0.5}
    )
    n.conv1 = L.Convolution(
        n.data,
        num_output=4,
        kernel_size=3,
        weight_filler={"type": "xavier"},
        param=[{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2}],
    )
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.ip = L.InnerProduct(n.pool1, num_output=5)
    n.loss = L.SoftmaxWithLoss(n.ip, n.label, loss_weight=2)
    n.acc = L.Accuracy(n.ip, n.label, include={"phase": 1})
    n.x, n.y = L.Slice(n.pool1, slice_point=2, axis=1, ntop=2)
    n.sil = L.Silence(n.x, n.y, ntop=0)

    assert n.to_proto() == recorded("netspec.prototxt")


def test_nameless_tops_are_numbered_by_type_as_recorded() -> None:
    conv = L.Convolution(
        L.Input(name="inp", shape={"dim": [1, 3, 5, 5]}), num_output=2, kernel_size=1
    )

    assert to_proto(L.ReLU(conv)) == recorded("netspec_autonames.prototxt")


def test_a_top_writes_the_net_behind_it() -> None:
    relu = L.ReLU(top())

    assert relu.to_proto() == to_proto(relu)


def test_the_printed_net_is_a_prototxt_of_the_same_net() -> None:
    net = to_proto(L.Convolution(top(), num_output=4, kernel_size=3, pad=1, name='a "b" \\'))

    assert parse_message(str(net), NetParameter) == net


def test_a_layer_that_many_read_is_written_once() -> None:
    x = top()

    net = to_proto(L.Eltwise(L.ReLU(x), L.TanH(x)))

    assert [layer.type for layer in net.layer] == ["Input", "ReLU", "TanH", "Eltwise"]


def test_a_chain_of_any_depth_is_written() -> None:
    x = top()
    for _ in range(3000):
        x = L.ReLU(x)

    assert len(to_proto(x).layer) == 3001


def test_tops_are_read_set_and_deleted_by_name() -> None:
    n = NetSpec()
    n["data"] = top()
    n.relu = L.ReLU(n["data"])

    del n.relu
    n["tanh"] = L.TanH(n.data)
    del n["data"]

    assert list(n.tops) == ["tanh"]


def test_settings_find_their_message_where_it_has_another_name() -> None:
    x = top()
    net = to_proto(
        L.Deconvolution(x, num_output=2, kernel_size=3),
        L.LSTM(x, x, num_output=7),
        L.SoftmaxWithLoss(x, x, ignore_label=255, axis=2),
        L.Gram(x, alpha=2.0),
        L.TVLoss(x, beta=2.5),
        L.Event(x, x, gate="NONE"),
        L.Scalar(x, value=3, operation=P.Scalar.ADD),
    )
    by_type = {layer.type: layer for layer in net.layer}

    assert by_type["Deconvolution"].convolution_param.kernel_size == [3]
    assert by_type["LSTM"].recurrent_param.num_output == 7
    assert by_type["SoftmaxWithLoss"].loss_param.ignore_label == 255
    assert by_type["SoftmaxWithLoss"].softmax_param.axis == 2
    assert by_type["Gram"].gram_param.alpha == 2
    assert by_type["TVLoss"].tv_loss_param.beta == 2.5
    assert by_type["Event"].event_param.gate == P.Event.NONE
    assert by_type["Scalar"].scalar_param.operation == P.Scalar.ADD


def test_settings_take_tuples_numpy_numbers_messages_and_whole_param_messages() -> None:
    filler = to_proto(L.InnerProduct(top(), weight_filler={"type": "msra"})).layer[1]
    layer = to_proto(
        L.Convolution(
            top(),
            convolution_param={
                "num_output": np.int64(4),
                "pad": (1, 2),
                "kernel_size": np.array([3, 5]),
                "weight_filler": filler.inner_product_param.weight_filler,
            },
        )
    ).layer[1]

    assert layer.convolution_param.num_output == 4
    assert list(layer.convolution_param.pad) == [1, 2]
    assert list(layer.convolution_param.kernel_size) == [3, 5]
    assert layer.convolution_param.weight_filler.type == "msra"


def test_in_place_with_several_tops_gives_a_tuple() -> None:
    assert len(L.ReLU(top(), in_place=True, ntop=2)) == 2


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: L.ReLU(top(), foo=1), AttributeError, "foo: ReLU has no such field"),
        (lambda: L.ReLU(top(), negative_slop=1), AttributeError, "Did you mean 'negative_slope'"),
        (lambda: L.ReLU("data"), TypeError, r"ReLU input 0 is not a Top \(type is <class 'str'>"),
        (lambda: P.Pooling.MEDIAN, AttributeError, "PoolingParameter has no word 'MEDIAN'"),
        (lambda: P.Poling.MAX, AttributeError, "no message PolingParameter"),
        (lambda: NetSpec().nope, KeyError, "NetSpec has no top 'nope'"),
        (lambda: NetSpec()["nope"], KeyError, "NetSpec has no top 'nope'"),
        (lambda: L.Pooling(top(), pool="MEDIAN"), ValueError, "expected one of MAX, AVE, STOCH"),
        (lambda: L.Pooling(top(), pad="two"), ValueError, r"PoolingParameter\.pad: got 'two'"),
        (lambda: L.Dropout(top(), dropout_ratio="x"), ValueError, "expected a number"),
        (lambda: L.Convolution(top(), weight_filler=3), ValueError, "FillerParameter's fields"),
    ],
)
def test_a_mistake_shows_where_it_is_made(
    call: Callable[[], Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(NstError, match=text) as caught:
        call()

    assert isinstance(caught.value, kind)


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    assert not hasattr(NetSpec(), "nope")
