"""Training iterations of our backends: forward to the loss, and backward to every weight.

The nets are those of models/; dropout is switched off, so that both sides compute the same gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.iterations import Iterations
from nst.backend import Backend
from nst.backend.numpy_backend import NumpyBackend
from nst.core import TRAIN, RandomSource
from nst.io.prototxt import parse_net
from nst.net import Net
from nst.proto import NetParameter

MODELS = Path(__file__).resolve().parents[2] / "models"

Weights = dict[str, list[NDArray[np.float32]]]


@dataclass(frozen=True)
class Batch:
    """What both sides are given: pictures, and one label for each."""

    data: NDArray[np.float32]
    labels: NDArray[np.int64]


def description(name: str, batch: int) -> NetParameter:
    """The net with two inputs, a loss, and `batch` pictures; deploy nets get the loss in place of `prob`."""
    folder = MODELS / name
    trained = folder / "train_test.prototxt"
    path = trained if trained.is_file() else folder / "net.prototxt"
    net = parse_net(path.read_text(), path=str(path))
    net.force_backward = False
    first, last = net.layer[0], net.layer[-1]
    if first.type == "DummyData":
        shape = [batch, *first.dummy_data_param.shape[0].dim[1:]]
        first.ClearField("dummy_data_param")
        first.type = "Input"
    else:
        shape = [batch, *first.input_param.shape[0].dim[1:]]
        first.ClearField("input_param")
        first.top.append("label")
        last.type, last.name = "SoftmaxWithLoss", "loss"
        last.bottom.append("label")
        last.top[:] = ["loss"]
    first.input_param.shape.add().dim.extend(shape)
    first.input_param.shape.add().dim.append(batch)
    for layer in net.layer:
        if layer.type == "Dropout":
            layer.dropout_param.dropout_ratio = 0
        layer.convolution_param.ClearField("weight_filler")
        layer.inner_product_param.ClearField("weight_filler")
    return net


def random_weights(param: NetParameter) -> Weights:
    """He-normal kernels, zero biases; BatchNorm and Scale as a net begins with them."""
    rng = np.random.default_rng(0)
    net = Net(param, backend=NumpyBackend(), phase=TRAIN)
    weights: Weights = {}
    for layer in net.layers:
        for blob in layer.params:
            if layer.type in ("Convolution", "InnerProduct") and len(blob.shape) > 1:
                deviation = np.float32(math.sqrt(2 / math.prod(blob.shape[1:])))
                values = rng.standard_normal(blob.shape, np.float32) * deviation
            else:
                values = np.array(blob.data)
            weights.setdefault(layer.name, []).append(values)
    return weights


def random_batch(param: NetParameter) -> Batch:
    rng = np.random.default_rng(1)
    shape = tuple(param.layer[0].input_param.shape[0].dim)
    return Batch(rng.standard_normal(shape, np.float32), np.arange(shape[0]) % 10)


def first_weights(param: NetParameter) -> str:
    """The layer whose weight gradient is compared: the first convolution, the last to be reached."""
    return next(layer.name for layer in param.layer if layer.type == "Convolution")


def ours(name: str, batch: int, backend: Backend) -> Iterations:
    param = description(name, batch)
    net = Net(param, backend=backend, phase=TRAIN, rng=RandomSource(0))
    for layer, values in random_weights(param).items():
        for blob, value in zip(net.params[layer], values, strict=True):
            blob.data[...] = value
    given = random_batch(param)
    net.blobs["data"].data[...] = given.data
    net.blobs["label"].data[...] = given.labels

    def both() -> float:
        net.clear_param_diffs()
        return net.forward_backward()

    weights = net.params[first_weights(param)][0]
    return Iterations(net.forward_from_to, both, lambda: np.array(weights.diff))
