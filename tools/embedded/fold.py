"""Turns a snapshot of the training into weights that paint: models/quickstart/quickstart.caffemodel.

    python tools/embedded/fold.py out/embedded/run_iter_4000.caffemodel out/embedded/tiles/test_00.h5 \\
        models/quickstart/net.prototxt OUT.caffemodel

BatchNorm and Scale become part of the convolution before them: with stored mean m, variance v, gain
g and offset b, the filter w becomes w g / sqrt(v + eps), the bias b - m g / sqrt(v + eps). A rectified
network can then be rescaled without changing what it computes: every layer is scaled so that its mean
activation on drawn tiles is ACTIVATION, near that of VGG19's files. Losses of all layers are then of
one size, and weights made for VGG19 are of use here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import h5py
import numpy as np
from network import CONVOLUTIONS, MEAN
from numpy.typing import NDArray

from nst.io.blob_proto import attach_blobs
from nst.io.weights import read_weights, write_weights
from nst.proto import NetParameter
from nst.pycaffe import TEST, Net

Array = NDArray[np.float32]
Layers = dict[str, list[Array]]
"""Filter (out, in, 3, 3) and bias (out,) of every convolution."""
ACTIVATION = 100.0
EPS = 1e-5
"""Of the BatchNorm layers: Caffe's default."""


def folded(snapshot: Path) -> Layers:
    """The convolutions of a training's caffemodel with BatchNorm and Scale inside."""
    trained = {
        name: [blob.array for blob in blobs] for name, blobs in read_weights(snapshot).items()
    }
    layers = {}
    for name in CONVOLUTIONS:
        number = name.removeprefix("conv")
        mean, variance, count = (blob.astype(np.float64) for blob in trained[f"norm{number}"])
        gain, offset = trained[f"scale{number}"]
        factor = gain / np.sqrt(variance / count + EPS)
        weight = trained[name][0] * factor[:, None, None, None]
        layers[name] = [a.astype(np.float32) for a in (weight, offset - mean / count * factor)]
    return layers


def rescaled(net: Net, layers: Layers, tiles: Array) -> Layers:
    """The same network with the mean activation of every layer at ACTIVATION; `net` gets its weights."""
    net.copy_weights(layers)
    net.blobs["data"].reshape(*tiles.shape)
    net.forward(data=tiles)
    result, before = {}, 1.0
    for name, (weight, bias) in layers.items():
        gain = ACTIVATION / float(net.blobs[name].to_host().mean())
        result[name] = [weight * np.float32(gain / before), bias * np.float32(gain)]
        before = gain
    net.copy_weights(result)
    return result


def some_tiles(path: Path, count: int) -> Array:
    """The first tiles of a file, minus the mean."""
    with h5py.File(path) as file:
        tiles = np.asarray(file["tile"][:count], np.float32)
    return tiles - np.array(MEAN, np.float32)[:, None, None]


def write(path: Path, name: str, layers: Layers) -> None:
    """A caffemodel of the convolutions alone."""
    net = NetParameter(name=name)
    for layer in layers:
        net.layer.add(name=layer, type="Convolution")
    write_weights(path, attach_blobs(net, layers))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("snapshot", "tiles", "net", "output"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    net = Net(options.net, phase=TEST)
    layers = rescaled(net, folded(options.snapshot), some_tiles(options.tiles, 192))
    write(options.output, net.name, layers)
    print(f"{options.output}: {options.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
