"""Turns trained weights into models/quickstart: net.prototxt and quickstart.caffemodel.

    PYTHONPATH=src python tools/embedded/export.py out/weights.npz out/canvases.npy models/quickstart

Rectified networks can be rescaled without changing what they compute: every layer is scaled so that
its mean activation on drawn pictures is ACTIVATION, near that of VGG19's files. Losses of all layers
are then of one size, and weights made for VGG19 are of use here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from network import CONVOLUTIONS, MEAN, Folded, load, starts_block
from torch import Tensor
from train import Crops

from nst.io.atomic import write_atomically
from nst.proto.nst_pb2 import NetParameter

ACTIVATION = 100.0
SIDE = 256


def forward(layers: dict[str, Folded], x: Tensor) -> dict[str, Tensor]:
    """Rectified outputs by name; `x` is BGR minus the mean."""
    found = {}
    for name, (weight, bias) in layers.items():
        x = F.avg_pool2d(x, 2, 2, ceil_mode=True) if starts_block(name) else x
        x = torch.relu(F.conv2d(x, torch.as_tensor(weight), torch.as_tensor(bias), padding=1))
        found[name] = x
    return found


def normalised(layers: dict[str, Folded], x: Tensor) -> dict[str, Folded]:
    """The same network with the mean activation of every layer at ACTIVATION."""
    result, before = {}, 1.0
    with torch.no_grad():
        means = {name: float(y.mean()) for name, y in forward(layers, x).items()}
    for name, (weight, bias) in layers.items():
        gain = ACTIVATION / means[name]
        result[name] = Folded(
            (weight * (gain / before)).astype(np.float32), (bias * gain).astype(np.float32)
        )
        before = gain
    return result


def prototxt() -> str:
    """The deploy net; `nst-solve` and Caffe's reader take it as it is."""
    parts = [
        "# The embedded network: VGG19's names, ours in everything else. See README.md.\n"
        'name: "quickstart"\nforce_backward: true  # diff of "data" after backward',
        _layer(
            "data",
            "Input",
            "",
            "data",
            f"input_param {{ shape {{ dim: 1 dim: 3 dim: {SIDE} dim: {SIDE} }} }}",
        ),
    ]
    bottom = "data"
    for name, width in CONVOLUTIONS.items():
        if starts_block(name):
            pool = f"pool{int(name[4]) - 1}"
            parts.append(
                _layer(
                    pool,
                    "Pooling",
                    bottom,
                    pool,
                    "pooling_param { pool: AVE kernel_size: 2 stride: 2 }",
                )
            )
            bottom = pool
        shape = f"convolution_param {{ num_output: {width} kernel_size: 3 pad: 1 }}"
        parts.append(_layer(name, "Convolution", bottom, name, shape))
        parts.append(_layer(name.replace("conv", "relu"), "ReLU", name, name))
        bottom = name
    return "\n".join(parts) + "\n"


def _layer(name: str, kind: str, bottom: str, top: str, parameter: str = "") -> str:
    lines = [
        f'name: "{name}"',
        f'type: "{kind}"',
        f'bottom: "{bottom}"' if bottom else "",
        f'top: "{top}"',
        parameter,
    ]
    return "layer {\n" + "".join(f"  {line}\n" for line in lines if line) + "}"


def caffemodel(layers: dict[str, Folded]) -> bytes:
    """A binary NetParameter with one layer per convolution: weights (out, in, 3, 3) and bias (out,)."""
    net = NetParameter(name="quickstart")
    for name, folded in layers.items():
        layer = net.layer.add(name=name, type="Convolution")
        for array in folded:
            blob = layer.blobs.add()
            blob.shape.dim.extend(array.shape)
            blob.data.extend(array.ravel().tolist())
    return net.SerializeToString(deterministic=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("canvases", type=Path)
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    crops = Crops(arguments.canvases, seed=7)
    x = torch.cat([crops.batch(96, held_out=True)[0] for _ in range(4)])
    layers = normalised(load(arguments.weights), x)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    (arguments.directory / "net.prototxt").write_text(prototxt())
    write_atomically(arguments.directory / "quickstart.caffemodel", caffemodel(layers))
    assert MEAN == (104.0, 117.0, 123.0)


if __name__ == "__main__":
    main()
