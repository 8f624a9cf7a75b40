"""Net with pycaffe's members: built from a file, run by layer names, weights from and to files."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nst.backend import Array, Backend
from nst.core import Layer, RandomSource
from nst.errors import UsageError
from nst.io.blob_proto import array_to_blob
from nst.io.hdf5 import read_hdf5, write_hdf5
from nst.io.prototxt import read_net
from nst.io.upgrade import upgrade_net
from nst.io.weights import read_weights, weights_inside, write_weights
from nst.layers.memory_data import MemoryData
from nst.net import Net as CoreNet
from nst.proto import NetParameter
from nst.pycaffe.batches import Rows, batches, count_of
from nst.pycaffe.mode import choose_allow_python, choose_backend, choose_seed

NetSource = str | PathLike[str] | NetParameter


class Net(CoreNet):
    """A net from a prototxt file or a NetParameter, as pycaffe's `caffe.Net`.

        net = Net("net.prototxt", phase=TEST, weights="w.caffemodel", backend="auto")
        net = Net("net.prototxt", TEST)
        net = Net("net.prototxt", "w.caffemodel", TEST)        # the old order

    Args:
        source: a prototxt file of any age, or a message (not changed).
        phase: TRAIN or TEST.
        level, stages: as in NetState.
        weights: a caffemodel or HDF5 file, or several separated by commas.
        backend: a name for `get_backend`, or a Backend; "auto" follows set_mode_cpu and set_mode_gpu.
        dtype: float32, or float64 for gradient checks.
        seed: of all random numbers of the net; None is set_random_seed's, else a fresh one.
        allow_python: whether PYTHON layers may run code.

    Blobs given inside the prototxt initialise their layers. Raises NstError of the kind that fits.
    """

    def __init__(
        self,
        source: NetSource,
        *old_order: Any,
        phase: int | None = None,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: str | PathLike[str] | None = None,
        backend: str | Backend = "auto",
        dtype: DTypeLike = np.float32,
        seed: int | None = None,
        allow_python: bool = False,
    ) -> None:
        given = _by_name(old_order, phase=phase, level=level, stages=stages, weights=weights)
        param = (
            upgrade_net(source) if isinstance(source, NetParameter) else read_net(fspath(source))
        )
        super().__init__(
            param,
            backend=choose_backend(backend),
            phase=given["phase"],
            level=given["level"],
            stages=tuple(given["stages"] or ()),
            dtype=dtype,
            rng=RandomSource(choose_seed(seed)),
            allow_python=choose_allow_python(allow_python),
        )
        inside = weights_inside(param)
        if inside:
            self.copy_weights(inside)
        if given["weights"] is not None:
            self.copy_from(given["weights"])

    # ---- running ----------------------------------------------------------------------------------

    def forward(
        self,
        blobs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: Any,
    ) -> dict[str, Array]:
        """Runs layers `start` to `end` (names, inclusive) after filling the inputs given by name.

        Returns the net's outputs, or the tops of `end`, and the blobs asked for, by name.
        """
        first = self.layer_index(start) if start is not None else 0
        last = self.layer_index(end) if end is not None else None
        names = self.top_names[end] if end is not None else self.outputs
        self._fill(self.inputs, inputs, "Input blob arguments do not match net inputs.", "Input")
        self.forward_from_to(first, last)
        return {name: self.blobs[name].data for name in {*names, *(blobs or ())}}

    def backward(
        self,
        diffs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **top_diffs: Any,
    ) -> dict[str, Array]:
        """Runs backward from layer `start` down to `end` after filling the output diffs by name.

        Returns the diffs of the inputs, or of the bottoms of `end`, and those asked for, by name.
        """
        first = self.layer_index(start) if start is not None else None
        last = self.layer_index(end) if end is not None else 0
        names = self.bottom_names[end] if end is not None else self.inputs
        message = "Top diff arguments do not match net outputs."
        self._fill(self.outputs, top_diffs, message, "Diff", diff=True)
        self.backward_from_to(first, last)
        return {name: self.blobs[name].diff for name in {*names, *(diffs or ())}}

    def forward_all(self, blobs: Iterable[str] | None = None, **inputs: Any) -> dict[str, Any]:
        """Runs any number of records through the net in batches; returns whole host arrays by name."""
        outs = Rows()
        for batch in batches(inputs, self._batch_size()):
            outs.add(self._on_host(self.forward(blobs=blobs, **batch)))
        return outs.first(count_of(inputs))

    def forward_backward_all(
        self, blobs: Iterable[str] | None = None, diffs: Iterable[str] | None = None, **inputs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Like `forward_all`, with a backward per batch; extra inputs named after outputs are diffs."""
        top_diffs = {name: inputs.pop(name) for name in list(inputs) if name in self.outputs}
        outs, grads, size = Rows(), Rows(), self._batch_size()
        for batch, diff_batch in itertools.zip_longest(
            batches(inputs, size), batches(top_diffs, size), fillvalue=dict[str, Any]()
        ):
            outs.add(self._on_host(self.forward(blobs=blobs, **batch)))
            grads.add(self._on_host(self.backward(diffs=diffs, **diff_batch)))
        return outs.first(count_of(inputs)), grads.first(count_of(inputs))

    def set_input_arrays(self, data: Any, labels: Any) -> None:
        """Hands (n, C, H, W) values and n labels to the MemoryData layer that the net begins with."""
        first = self.layers[0]
        if not isinstance(first, MemoryData):
            raise UsageError(
                "set_input_arrays may only be called if the first layer is a MemoryDataLayer "
                f"(got layer '{first.name}' of type {first.type})"
            )
        first.set_data(data, labels)

    def _forward(self, start: int, end: int) -> float:
        """pycaffe's: layers by number, returns the loss."""
        return self.forward_from_to(start, end)

    def _backward(self, start: int, end: int) -> None:
        """pycaffe's: layers by number, downwards."""
        self.backward_from_to(start, end)

    # ---- names ------------------------------------------------------------------------------------

    @property
    def _layer_names(self) -> list[str]:
        return self.layer_names

    @property
    def _blob_names(self) -> list[str]:
        return list(self.wiring.blob_names)

    def _top_ids(self, layer: int) -> list[int]:
        """Numbers of the tops of a layer, as in `_blob_names`."""
        return list(self.wiring.layers[layer].tops)

    def _bottom_ids(self, layer: int) -> list[int]:
        """Numbers of the bottoms of a layer."""
        return list(self.wiring.layers[layer].bottoms)

    @property
    def layer_dict(self) -> OrderedDict[str, Layer]:
        """Layers by name, in order."""
        return OrderedDict(zip(self.layer_names, self.layers, strict=True))

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """Names of the tops by layer name."""
        return self._names_by_layer(lambda planned: planned.tops)

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """Names of the bottoms by layer name."""
        return self._names_by_layer(lambda planned: planned.bottoms)

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """Loss weight of every blob, 0 for most."""
        weights = OrderedDict.fromkeys(self.wiring.blob_names, 0.0)
        for planned, layer in zip(self.wiring.layers, self.layers, strict=True):
            for number, weight in zip(planned.tops, layer.loss_weights, strict=True):
                weights[self.wiring.blob_names[number]] = (
                    weight or weights[self.wiring.blob_names[number]]
                )
        return weights

    # ---- files ------------------------------------------------------------------------------------

    def copy_from(self, path: str | PathLike[str]) -> None:
        """Takes weights by layer name from caffemodel or HDF5 files (several separated by commas)."""
        for name in fspath(path).split(","):
            self.copy_weights(read_weights(name, set(self.layer_names)))

    def load_hdf5(self, path: str | PathLike[str]) -> None:
        """`copy_from` that refuses anything but HDF5."""
        self.copy_weights(read_hdf5(path, set(self.layer_names)))

    def share_with(self, other: CoreNet) -> None:
        """Uses the parameters of another net's equally named layers, as the same memory."""
        self.share_trained_layers_with(other)

    def save(self, path: str | PathLike[str], *, diff: bool = False) -> None:
        """Writes all layers with their weights: HDF5 if the name ends in .h5, else a caffemodel."""
        write_weights(path, self.to_proto(diff=diff))

    def save_hdf5(self, path: str | PathLike[str], *, diff: bool = False) -> None:
        """Writes the weights as Caffe's HDF5, whatever the name."""
        write_hdf5(path, self.to_proto(diff=diff))

    def to_proto(self, *, diff: bool = False) -> NetParameter:
        """The net as Caffe saves it: its name, all layers, and their blobs."""
        param = NetParameter(name=self.name)
        for planned, layer in zip(self.wiring.layers, self.layers, strict=True):
            saved = param.layer.add()
            saved.CopyFrom(planned.param)
            saved.type = planned.layer_type.type
            del saved.blobs[:]
            for blob in layer.params:
                gradient = blob.diff_to_host() if diff else None
                saved.blobs.append(array_to_blob(blob.to_host(), gradient))
        return param

    # ---- pieces -----------------------------------------------------------------------------------

    def _names_by_layer(self, pick: Any) -> OrderedDict[str, list[str]]:
        names = self.wiring.blob_names
        return OrderedDict(
            (planned.name, [names[number] for number in pick(planned)])
            for planned in self.wiring.layers
        )

    def _fill(
        self,
        expected: Sequence[str],
        given: dict[str, Any],
        message: str,
        noun: str,
        *,
        diff: bool = False,
    ) -> None:
        if not given:
            return
        if set(given) != set(expected):
            raise UsageError(f"{message} (got {sorted(given)}, expected {sorted(expected)})")
        for name, values in given.items():
            blob = self.blobs[name]
            if len(values) != blob.shape[0]:
                raise UsageError(
                    f"{noun} is not batch sized (got {len(values)} for '{name}', expected "
                    f"{blob.shape[0]})"
                )
            target = blob.diff if diff else blob.data
            target[...] = self.backend.asarray(values, blob.dtype)

    def _batch_size(self) -> int:
        return self.blobs[self.inputs[0]].shape[0] if self.inputs else 1

    def _on_host(self, values: dict[str, Array]) -> dict[str, Any]:
        return {name: self.backend.to_host(array) for name, array in values.items()}


def _by_name(positional: tuple[Any, ...], **named: Any) -> dict[str, Any]:
    """Sorts out pycaffe's positional orders: (phase, level, stages, weights), and (weights, phase)."""
    order = ["phase", "level", "stages", "weights"]
    if positional and not isinstance(positional[0], int):
        order = ["weights", "phase"]
    if len(positional) > len(order):
        raise UsageError(f"Net: got {len(positional) + 1} positional arguments, expected fewer")
    arguments = {**named, **dict(zip(order, positional, strict=False))}
    if not isinstance(arguments["phase"], int):
        raise UsageError(
            f"Net: phase is missing (got {arguments['phase']!r}, expected nst.TRAIN or nst.TEST)"
        )
    return arguments
