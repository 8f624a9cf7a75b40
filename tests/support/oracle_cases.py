"""Runs a net recorded from the real Caffe and hands back both sides of every number.

A case is `<name>.prototxt` beside `<name>.npz` with keys in/<blob>, param/<layer>/<i>, out/<blob>,
topdiff/<blob>, grad/<blob>, pgrad/<layer>/<i>, param_after/<layer>/<i>, loss, meta (json).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support.layer_rig import write

from nst.backend import Backend
from nst.core import TEST, TRAIN, Blob
from nst.io.prototxt import read_net
from nst.net import Net

Values = NDArray[Any]
_DEFAULTS: dict[str, Any] = {
    "phase": "TEST",
    "stages": [],
    "steps": 1,
    "backward": True,
    "layers": [],
    "loss_weights": {},
}
Pair = tuple[str, Values, Values]
"""(key of the record, ours, Caffe's)"""


class OracleCase:
    """One recorded net: `replay` yields the pairs that must agree."""

    def __init__(self, archive: Path) -> None:
        self.name = archive.stem
        self.prototxt = archive.with_suffix(".prototxt")
        with np.load(archive) as arrays:
            self.record: dict[str, Values] = {key: arrays[key] for key in arrays.files}
        self.meta: dict[str, Any] = _DEFAULTS | json.loads(str(self.record.pop("meta", "{}")))

    @property
    def types(self) -> set[str]:
        """Layer types of the net, those that the net builder inserts included."""
        written = {layer.type for layer in read_net(self.prototxt).layer}
        return written | {layer[1] for layer in self.meta["layers"]}

    def build(self, backend: Backend) -> Net:
        """The net with the recorded parameters and inputs in it."""
        phase = TRAIN if self.meta["phase"] == "TRAIN" else TEST
        net = Net(read_net(self.prototxt), backend=backend, phase=phase, stages=self.meta["stages"])
        for key, values in self.record.items():
            kind, _, rest = key.partition("/")
            if kind == "in":
                write(net.blobs[rest], "data", values)
            elif kind == "param":
                write(_param(net, rest), "data", values)
        return net

    def replay(self, backend: Backend) -> Iterator[Pair]:
        """Runs the net as it was run when recorded."""
        net = self.build(backend)
        for _ in range(self.meta["steps"]):
            loss = net.forward_from_to()
        if "loss" in self.record:
            yield "loss", np.asarray(loss), self.record["loss"]
        yield from self._pairs("out", net.blobs, "data")
        if not self.meta["backward"]:
            return
        self._zero_diffs(net)
        for key, values in self.record.items():
            kind, _, name = key.partition("/")
            if kind == "topdiff":
                write(net.blobs[name], "diff", values)
        net.backward_from_to()
        yield from self._pairs("grad", net.blobs, "diff")
        params = {
            f"{layer}/{i}": blob
            for layer, blobs in net.params.items()
            for i, blob in enumerate(blobs)
        }
        yield from self._pairs("pgrad", params, "diff")
        yield from self._pairs("param_after", params, "data")

    def _zero_diffs(self, net: Net) -> None:
        """All but the tops that carry a loss weight: their diff is the weight."""
        for name, blob in net.blobs.items():
            if not self.meta["loss_weights"].get(name):
                blob.diff[...] = 0
        net.clear_param_diffs()

    def _pairs(self, kind: str, blobs: dict[str, Blob], what: str) -> Iterator[Pair]:
        for key, values in self.record.items():
            found, _, name = key.partition("/")
            if found == kind:
                blob = blobs[name]
                ours = blob.to_host() if what == "data" else blob.diff_to_host()
                yield key, ours.copy(), values


def _param(net: Net, key: str) -> Blob:
    layer, _, index = key.rpartition("/")
    return net.params[layer][int(index)]
