"""Whole nets of the CPU engine's tests: built with fixed random numbers, filled, compared blob by blob."""

from __future__ import annotations

import numpy as np
from backend.cpu.oracle import relative_error

from nst.backend import Backend
from nst.core import RandomSource
from nst.io.prototxt import parse_net
from nst.net import Net

FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"
INPUTS = ("data", "t1", "t2", "t3", "tc", "tp")
TOLERANCE = 1e-4
"""Of a whole net in float32 against float64, a dozen layers deep."""


def build(backend: Backend, text: str, **options: object) -> Net:
    net = Net(parse_net(text), backend=backend, rng=RandomSource(3), **options)
    net.forward_from_to(0, 0)  # from here on the blob of the PARAMETER is its picture
    fill(net, 0)
    return net


def fill(net: Net, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name in (name for name in INPUTS if name in net.blobs):
        net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)


def same(net: Net, reference: Net, blob: str, side: str = "data") -> bool:
    got, expected = (getattr(n.blobs[blob], side) for n in (net, reference))
    return relative_error(got, expected) < TOLERANCE
