"""Describes the training net and writes it: the features, and what is asked of them.

    python tools/embedded/network.py > tools/embedded/train_val.prototxt

One file for both phases, as Caffe has it. The tiles come out of HDF5 files (`tiles.py`); `spoil.Spoil`
cuts, recolours and spoils them. Every convolution has BatchNorm and Scale behind it, which `fold.py` takes
away again.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from typing import Any

from nst.io.prototxt import format_message
from nst.proto import LayerParameter, NetParameter
from nst.pycaffe import TEST, TRAIN, NetSpec
from nst.pycaffe import layers as L
from nst.pycaffe.net_spec import Top

CONVOLUTIONS = {
    "conv1_1": 24,
    "conv1_2": 32,
    "conv2_1": 48,
    "conv2_2": 64,
    "conv3_1": 96,
    "conv3_2": 96,
    "conv4_1": 128,
    "conv4_2": 128,
    "conv5_1": 160,
}
"""VGG19's names with our widths. A pooling comes before the first convolution of blocks 2 to 5."""
TEXTURE_HEADS = {"conv3_2": 0.3, "conv4_2": 0.4, "conv5_1": 1.0}
"""Where the texture is asked for, and the weight of each answer in the loss."""
CLASSES = 384
TILES = "out/embedded/tiles"
BATCH = 64
MEAN = (104.0, 117.0, 123.0)
"""BGR; subtracted from the input."""


def starts_block(name: str) -> bool:
    """Whether a pooling comes before this convolution."""
    return name.endswith("_1") and name != "conv1_1"


def training_net(
    classes: int = CLASSES, batch: int = BATCH, tiles: str = TILES, side: int = 96
) -> NetParameter:
    """The net for both phases: data, features, heads, losses, accuracies; `side` is that of the tiles.

    Training begins with crops of half a tile. Under the stage "spoil" it sees two thirds of a tile, half
    as many of them, and every one twice. The test sees whole tiles.
    """
    n = NetSpec()
    n.tile, n.tile_label = L.HDF5Data(
        source=f"{tiles}/train.txt", batch_size=batch, shuffle=True, ntop=2
    )
    n.data, n.label = L.Python(n.tile, n.tile_label, ntop=2, module="spoil", layer="Spoil")
    found = _features(n)
    for name, weight in TEXTURE_HEADS.items():
        _texture_head(n, name, found[name], classes, weight)
    net = n.to_proto()
    layers = list(net.layer)
    del net.layer[:]
    net.layer.extend(_sources(layers[0], batch // 2, f"{tiles}/test.txt"))
    net.layer.extend(_croppers(layers[1], side))
    net.layer.extend(layers[2:])
    net.name = "embedded_training"
    net.force_backward = True  # the layer Spoil wants the gradient of its crops
    return net


def _sources(plain: LayerParameter, batch: int, test_list: str) -> list[LayerParameter]:
    """The layer that reads tiles: plain, for the stage "spoil", and for the test."""
    spoil, test = copy.deepcopy(plain), copy.deepcopy(plain)
    spoil.hdf5_data_param.batch_size = test.hdf5_data_param.batch_size = batch
    test.hdf5_data_param.source, test.hdf5_data_param.shuffle = test_list, False
    return _by_state(plain, spoil, test)


def _croppers(plain: LayerParameter, side: int) -> list[LayerParameter]:
    """The layer that cuts crops, likewise."""
    spoil, test = copy.deepcopy(plain), copy.deepcopy(plain)
    plain.python_param.param_str = json.dumps({"side": side // 2})
    spoil.python_param.param_str = json.dumps({"side": side * 2 // 3, "again": True})
    test.python_param.param_str = json.dumps({"side": side})
    return _by_state(plain, spoil, test)


def _by_state(*layers: LayerParameter) -> list[LayerParameter]:
    plain, spoil, test = layers
    plain.include.add(phase=TRAIN, not_stage=["spoil"])
    spoil.include.add(phase=TRAIN, stage=["spoil"])
    test.include.add(phase=TEST)
    return list(layers)


def _features(n: NetSpec) -> dict[str, Top]:
    """Rectified features by the name of their convolution."""
    found, top = {}, n.data
    for name, width in CONVOLUTIONS.items():
        number = name.removeprefix("conv")
        if starts_block(name):
            top = _put(
                n, f"pool{int(number[0]) - 1}", L.Pooling(top, pool="AVE", kernel_size=2, stride=2)
            )
        top = _put(
            n,
            name,
            L.Convolution(
                top,
                num_output=width,
                kernel_size=3,
                pad=1,
                bias_term=False,
                weight_filler={"type": "msra"},
                param=[{"lr_mult": 1, "decay_mult": 1}],
            ),
        )
        top = _put(
            n, f"norm{number}", L.BatchNorm(top, in_place=True, moving_average_fraction=0.99)
        )
        top = _put(
            n,
            f"scale{number}",
            L.Scale(
                top, in_place=True, bias_term=True, param=[{"decay_mult": 0}, {"decay_mult": 0}]
            ),
        )
        found[name] = top = _put(n, f"relu{number}", L.ReLU(top, in_place=True))
    return found


def _texture_head(n: NetSpec, name: str, top: Top, classes: int, weight: float) -> None:
    """A linear answer from mean and root mean square of each channel: the diagonal of its Gram matrix.

    Between textures these differ by a fraction of what they are; BatchNorm brings that to unit size.
    """
    number = name.removeprefix("conv")
    mean = _put(n, f"mean{number}", L.Pooling(top, pool="AVE", global_pooling=True))
    square = _put(n, f"square{number}", L.Power(top, power=2))
    power = _put(n, f"power{number}", L.Pooling(square, pool="AVE", global_pooling=True))
    rms = _put(n, f"rms{number}", L.Power(power, power=0.5, shift=1e-3))
    both = _put(n, f"summary{number}", L.Concat(mean, rms))
    both = _put(n, f"normal{number}", L.BatchNorm(both, moving_average_fraction=0.99))
    scores = _put(
        n,
        f"texture{number}",
        L.InnerProduct(
            both,
            num_output=classes,
            weight_filler={"type": "gaussian", "std": 0.01},
            param=[{}, {"decay_mult": 0}],
        ),
    )
    _put(n, f"texture_loss{number}", L.SoftmaxWithLoss(scores, n.label, loss_weight=weight))
    _put(n, f"accuracy{number}", L.Accuracy(scores, n.label, include=[{"phase": TEST}]))


def _put(n: NetSpec, name: str, top: Any) -> Any:
    setattr(n, name, top)
    return top


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", type=int, default=CLASSES)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--tiles", default=TILES)
    parser.add_argument("--side", type=int, default=96)
    sys.stdout.write(format_message(training_net(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
