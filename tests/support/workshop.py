"""A tiny model and a solver file as files, for the tests of the doors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from support.tiny import tiny_net, tiny_weights

from nst.io.blob_proto import array_to_blob
from nst.io.caffemodel import write_caffemodel
from nst.io.prototxt import format_message

SOLVER = """
net: "net.prototxt"
weights: "tiny.caffemodel"
max_iter: 4
style_transfer_param {
  content { image: "town.png" layer { name: "conv3_1" } }
  style { image: "waves.png" layer { name: "conv1_1" } layer { name: "relu2_1" weight: 2 } }
  gram_normalize: HW style_weight: 0.01 content_weight: 0.1 size: 24 output: "out.png"
  transform_param { mean_value: 128 }
}
"""


def write_tiny_model(folder: Path, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """net.prototxt and tiny.caffemodel, every weight passed through `change`."""
    net = tiny_net()
    (folder / "net.prototxt").write_text(format_message(net))
    for name, arrays in tiny_weights().items():
        layer = next(layer for layer in net.layer if layer.name == name)
        layer.blobs.extend(array_to_blob(change(array)) for array in arrays)
    kept = [layer for layer in net.layer if layer.blobs]
    del net.layer[:]
    net.layer.extend(kept)
    write_caffemodel(folder / "tiny.caffemodel", net)
