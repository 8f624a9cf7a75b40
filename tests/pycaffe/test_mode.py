"""The door's mode: what nets made afterwards start from, and nothing else."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from nst.backend import available_backends
from nst.errors import BackendUnavailable, NetError, UsageError
from nst.io.type_names import CAFFE_TYPES, STYLE_TYPES
from nst.pycaffe import (
    Net,
    allow_python_layers,
    layer_type_list,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_random_seed,
    to_proto,
)
from nst.pycaffe import layers as L

CUDA = {row.name: row.available for row in available_backends()}.get("cuda")
"""Whether it can be used; None if this version has no such backend."""


def net(**options: object) -> Net:
    data = L.Input(shape={"dim": [1, 4]})
    param = to_proto(
        L.InnerProduct(data, name="ip", num_output=3, weight_filler={"type": "xavier"})
    )
    return Net(param, phase=1, **options)  # type: ignore[arg-type]


def test_cpu_mode_takes_the_fastest_backend_without_a_gpu() -> None:
    set_mode_cpu()

    names = [row.name for row in available_backends() if row.available and row.name != "cuda"]
    assert net().backend.name == names[0]


def test_a_net_that_names_its_backend_gets_it() -> None:
    set_mode_cpu()

    assert net(backend="numpy").backend.name == "numpy"


@pytest.mark.skipif(CUDA is not False, reason="cuda works here, or is no part of this version")
def test_gpu_mode_without_a_gpu_fails_at_once() -> None:
    with pytest.raises(BackendUnavailable):
        set_mode_gpu()


@pytest.mark.gpu
@pytest.mark.skipif(not CUDA, reason="needs a CUDA device")
def test_gpu_mode_puts_nets_on_the_gpu() -> None:
    set_mode_gpu()

    assert net().backend.name == "cuda"


def test_a_device_becomes_the_only_one_that_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "so that it is put back")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)

    set_device(2)

    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"


def test_a_device_counts_among_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)

    set_device(2)

    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"


def test_another_device_is_refused_once_the_gpu_is_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", sys)

    set_device(0)
    with pytest.raises(UsageError, match=r"in use already.*CUDA_VISIBLE_DEVICES=2"):
        set_device(2)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)

    with pytest.raises(UsageError, match=r"got 2, expected the number of a GPU"):
        set_device(2)


def test_nets_made_after_a_seed_are_equal() -> None:
    set_random_seed(7)

    one, two = net().params["ip"][0], net().params["ip"][0]

    np.testing.assert_array_equal(one.to_host(), two.to_host())


def test_a_net_that_names_its_seed_keeps_it() -> None:
    set_random_seed(7)

    assert not np.array_equal(
        net(seed=8).params["ip"][0].to_host(), net().params["ip"][0].to_host()
    )


def test_the_seed_draws_caffes_own_numbers() -> None:
    """xavier is uniform in +-sqrt(3 / fan_in), from the raw words of MT19937 in order."""
    set_random_seed(7)

    words = np.random.RandomState(7).randint(0, 2**32, size=12, dtype=np.uint32)
    expected = (words / 2**32 * 2 - 1) * np.sqrt(3 / 4)
    np.testing.assert_allclose(net().params["ip"][0].to_host().ravel(), expected, rtol=1e-5)


def test_python_layers_run_only_when_they_are_allowed() -> None:
    param = to_proto(L.Python(module="json", layer="JSONDecoder", ntop=0))

    with pytest.raises(NetError, match="Python layers run code"):
        Net(param, phase=1)
    allow_python_layers()
    with pytest.raises(AttributeError, match="setup"):  # json's class is no layer: it was made
        Net(param, phase=1)


def test_every_layer_type_of_caffe_and_of_style_transfer_is_listed() -> None:
    assert layer_type_list() == sorted(layer_type_list())
    assert set(layer_type_list()) >= {*CAFFE_TYPES, *STYLE_TYPES}
