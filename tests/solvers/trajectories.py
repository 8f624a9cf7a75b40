"""Nets of the recorded Caffe runs, fed batch by batch from the record instead of from a data layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend import Backend
from nst.core import TRAIN
from nst.io.prototxt import parse_net, read_net, read_solver
from nst.io.weights import read_weights
from nst.net import Net
from nst.proto import NetParameter, SolverParameter

FOLDER = Path(__file__).parent.parent / "data" / "solver"
NAMES = sorted(path.name.removesuffix(".solver.prototxt") for path in FOLDER.glob("*.solver.*"))
CAFFE_RUNS = [name for name in NAMES if not name.startswith("fork_")]
FORK_RUNS = [name for name in NAMES if name.startswith("fork_")]

INPUTS = """layer { name: "data" type: "Input" top: "x" top: "label"
                    input_param { shape { dim: 5 dim: 4 } shape { dim: 5 } } }"""


def recorded(name: str) -> dict[str, NDArray[Any]]:
    """The arrays of one recorded run: steps, lr, loss, test_acc, test_loss."""
    with np.load(FOLDER / "trajectories.npz") as arrays:
        keys = ("steps", "lr", "loss", "test_acc", "test_loss")
        return {key: arrays[f"{name}/{key}"] for key in keys}


def solver_param(name: str) -> SolverParameter:
    """The solver file of a run, without its test net."""
    param = read_solver(FOLDER / f"{name}.solver.prototxt")
    for field in ("test_iter", "test_interval", "test_initialization"):
        param.ClearField(field)
    return param


class RecordedNet(Net):
    """The net of a recorded run with the initial weights; every pass takes the next recorded batch."""

    def __init__(self, file: str, backend: Backend) -> None:
        super().__init__(_with_inputs(read_net(FOLDER / file)), backend=backend, phase=TRAIN)
        shared = "_shared" if "shared" in file else ""
        self.copy_weights(read_weights(FOLDER / f"init{shared}.caffemodel"))
        with np.load(FOLDER / "trajectories.npz") as arrays:
            self.batches = list(zip(arrays["x"], arrays["label"], strict=True))
        self.passes = 0

    def forward_backward(self) -> float:
        x, label = self.batches[self.passes]
        self.blobs["x"].data[...] = self.backend.asarray(x, np.float32)
        self.blobs["label"].data[...] = self.backend.asarray(label, np.float32)
        self.passes += 1
        return super().forward_backward()

    def flat(self) -> NDArray[Any]:
        """All parameters as one vector, ordered by layer name and index, as in the record."""
        return np.concatenate(
            [blob.to_host().ravel() for name in sorted(self.params) for blob in self.params[name]]
        ).copy()


def _with_inputs(net: NetParameter) -> NetParameter:
    fed = parse_net(INPUTS)
    fed.name = net.name
    fed.layer.extend(layer for layer in net.layer if layer.type not in ("HDF5Data", "Accuracy"))
    return fed
