"""Engines against the reference in float64, on nets drawn at random and run several times."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from backend.cuda.host_device import HostDevice
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_nets import RandomNet

from nst.backend import Backend, available_backends, get_backend
from nst.backend.cuda.backend import CudaBackend
from nst.backend.numpy_backend import NumpyBackend
from nst.core import RandomSource
from nst.errors import BackendError
from nst.io.prototxt import parse_net
from nst.net import Net

LOSS_ERROR, GRADIENT_ERROR = 3e-4, 5e-3
"""In one net of several thousand a ReLU or maximum decides otherwise in float32, and the gradient is off by
more: the nets are the same ones in every run."""

ENGINES = ["cpu", "cpu, all gradients", "cuda on the host", "cuda on the host, fused gates"]


def engine(name: str) -> Backend:
    if name.startswith("cuda"):
        return CudaBackend(HostDevice(fuses_gates="fused" in name))
    if not any(row.name == "cpu" and row.available for row in available_backends()):
        pytest.skip("backend cpu: its library is not built")
    return get_backend("cpu", threads=1)


@pytest.mark.parametrize("name", ENGINES)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1 << 32))
def test_losses_gradients_and_values_are_those_of_the_reference(name: str, seed: int) -> None:
    """Some runs make the two passes one after the other. A blob that is looked at in between has the right
    values, or says that they were not kept."""
    drawn, random = RandomNet(Random(seed)), Random(seed + 1)
    param = parse_net(drawn.text)
    reference = Net(param, backend=NumpyBackend(), rng=RandomSource(3), dtype=np.float64)
    recycles = "all" not in name
    net = Net(param, backend=engine(name), rng=RandomSource(3), recycle_gradients=recycles)
    for each in (net, reference):
        each.forward_from_to(0, 0)  # from here on the blob of the PARAMETER is its picture
    for run in range(3):
        for each in (net, reference):
            drawn.fill(each, run)
        if random.random() < 0.3:
            loss, expected = net.forward_from_to(), reference.forward_from_to()
            net.backward_from_to()
            reference.backward_from_to()
        else:
            loss, expected = net.forward_backward(), reference.forward_backward()
        assert loss == pytest.approx(expected, rel=LOSS_ERROR), drawn.text
        got, wanted = net.blobs["data"].diff_to_host(), reference.blobs["data"].diff
        assert is_near(got, wanted), drawn.text
        blob = random.choice(list(net.blobs))
        try:
            values = net.blobs[blob].to_host()
        except BackendError:
            assert recycles
        else:
            assert is_near(values, reference.blobs[blob].data), (blob, drawn.text)


def is_near(got: np.ndarray, wanted: np.ndarray) -> bool:
    difference = np.linalg.norm(np.asarray(got, np.float64) - wanted)
    return bool(difference <= GRADIENT_ERROR * max(float(np.linalg.norm(wanted)), 1e-6))
