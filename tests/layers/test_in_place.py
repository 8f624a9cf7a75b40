"""Working in place saves memory and changes no number: not of the layer, not of its neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from support.gradient_cases import positive
from support.layer_rig import write

from nst.backend import Backend
from nst.core import RandomSource
from nst.io.prototxt import parse_net
from nst.net import Net

KINDS = {
    "AbsVal": "",
    "BNLL": "",
    "BatchNorm": "batch_norm_param { use_global_stats: false }",
    "Bias": 'bias_param { filler { type: "uniform" } }',
    "Clip": "clip_param { min: 0.7 max: 1.5 }",
    "Dropout": "phase: TRAIN",
    "ELU": "elu_param { alpha: 0.5 }",
    "Eltwise": 'bottom: "other" eltwise_param { operation: PROD stable_prod_grad: false }',
    "Exp": "exp_param { base: 2 }",
    "LRN": "lrn_param { local_size: 3 alpha: 2 }",
    "Log": "log_param { shift: 0.3 }",
    "MVN": "",
    "PReLU": "",
    "Power": "power_param { power: 1.5 shift: 0.2 }",
    "ReLU": "relu_param { negative_slope: 0.3 }",
    "Scale": 'scale_param { filler { type: "uniform" } bias_term: true }',
    "Sigmoid": "",
    "Softmax": "",
    "Swish": "swish_param { beta: 2 }",
    "TanH": "",
}
NEVER_IN_PLACE = {"AbsVal", "Eltwise", "LRN"}

CHAIN = """
force_backward: true
layer {{ name: "x" type: "Input" top: "x" top: "other"
  input_param {{ shape {{ dim: 2 dim: 3 dim: 2 dim: 2 }} }} }}
layer {{ name: "a" type: "Power" bottom: "x" top: "a" power_param {{ shift: -1 }} }}
layer {{ name: "b" type: "Power" bottom: "a" top: "{first}" power_param {{ shift: 1 }} }}
layer {{ name: "c" type: "{kind}" bottom: "{first}" top: "{second}" {fields} }}
layer {{ name: "d" type: "Power" bottom: "{second}" top: "{third}" power_param {{ scale: -2 shift: 3 }} }}
layer {{ name: "e" type: "Reduction" bottom: "{third}" top: "e" loss_weight: 1
  reduction_param {{ operation: SUMSQ }} }}
"""


def gradient(backend: Backend, kind: str, names: tuple[str, str, str]) -> np.ndarray:
    first, second, third = names
    fields = KINDS[kind]
    text = CHAIN.format(kind=kind, fields=fields, first=first, second=second, third=third)
    net = Net(parse_net(text), backend=backend, dtype=np.float64, rng=RandomSource(3))
    write(net.blobs["x"], "data", positive(2, 3, 2, 2))
    write(net.blobs["other"], "data", positive(2, 3, 2, 2, seed=1))
    net.forward_backward()
    return net.blobs["x"].diff_to_host().copy()


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_in_place_on_the_top_does_not_spoil_the_gradient(
    kind: str, backend: Backend
) -> None:
    apart = gradient(backend, kind, ("b", "c", "d"))

    np.testing.assert_allclose(gradient(backend, kind, ("b", "c", "c")), apart, rtol=1e-12)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - NEVER_IN_PLACE))
def test_a_layer_between_two_in_place_has_its_own_gradient(kind: str, backend: Backend) -> None:
    apart = gradient(backend, kind, ("b", "c", "d"))

    np.testing.assert_allclose(gradient(backend, kind, ("b", "b", "b")), apart, rtol=1e-12)
