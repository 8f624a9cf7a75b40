"""What a solver writes to the log, in Caffe's words; nothing here touches the run.

`display` lines carry the loss, each output of the net and the rate. With `debug_info`, the displayed
iterations also log the mean absolute value of every blob on its way forward and backward.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from nst.core.blob import Blob
from nst.solvers.contract import TrainableNet

log = logging.getLogger("nst.solvers")


def log_iteration(net: TrainableNet, iteration: int, loss: float, rate: float) -> None:
    """What `display` shows of an iteration."""
    log.info("Iteration %d, loss = %.6g", iteration, loss)
    log_outputs("Train net", net, output_values(net))
    log.info("Iteration %d, lr = %.6g", iteration, rate)


def log_outputs(title: str, net: TrainableNet, values: Mapping[str, Sequence[float]]) -> None:
    """One line per value of each output blob; losses with their weight and weighted value behind."""
    losses = net.loss_terms()
    number = 0
    for name, entries in values.items():
        # The diff of a loss blob is its loss weight.
        weights = net.blobs[name].diff_to_host().flat if name in losses else [0.0] * len(entries)
        for value, weight in zip(entries, weights, strict=True):
            weighted = f" (* {weight:.6g} = {weight * value:.6g} loss)" if weight else ""
            log.info("    %s output #%d: %s = %.6g%s", title, number, name, value, weighted)
            number += 1


def output_values(net: TrainableNet) -> dict[str, list[float]]:
    """The values of the output blobs, in the net's order."""
    return {name: [float(v) for v in net.blobs[name].to_host().flat] for name in net.outputs}


@contextlib.contextmanager
def debug_info(net: TrainableNet, wanted: bool, *, training: bool = True) -> Iterator[None]:
    """While active, logs the mean absolute values of what each layer computed (Caffe's debug_info).

    With `training`, ends with the norms of all parameters and their diffs.
    """
    if not wanted:
        yield
        return

    def forward(index: int) -> None:
        name = net.layers[index].name
        for blob in net.tops_of(index):
            mean = _mean_abs(blob.to_host())
            log.info("    [Forward] Layer %s, top blob %s data: %.6g", name, blob.name, mean)
        for i, blob in enumerate(net.layers[index].params):
            mean = _mean_abs(blob.to_host())
            log.info("    [Forward] Layer %s, param blob %d data: %.6g", name, i, mean)

    def backward(index: int) -> None:
        name = net.layers[index].name
        for blob in net.bottoms_of(index):
            if blob.has_diff:
                mean = _mean_abs(blob.diff_to_host())
                log.info(
                    "    [Backward] Layer %s, bottom blob %s diff: %.6g", name, blob.name, mean
                )
        for i, blob in enumerate(net.layers[index].params):
            if blob.has_diff:
                mean = _mean_abs(blob.diff_to_host())
                log.info("    [Backward] Layer %s, param blob %d diff: %.6g", name, i, mean)

    net.after_forward.append(forward)
    net.after_backward.append(backward)
    try:
        yield
    finally:
        net.after_forward.remove(forward)
        net.after_backward.remove(backward)
    if training:
        _log_norms(net.learnable_params)


def _log_norms(params: Sequence[Blob]) -> None:
    data = [np.asarray(blob.to_host(), np.float64).ravel() for blob in params]
    diff = [np.asarray(b.diff_to_host(), np.float64).ravel() for b in params if b.has_diff]
    log.info(
        "    [Backward] All net params (data, diff): L1 norm = (%.6g, %.6g); L2 norm = (%.6g, %.6g)",
        sum(float(np.abs(a).sum()) for a in data),
        sum(float(np.abs(a).sum()) for a in diff),
        math.sqrt(sum(float(a @ a) for a in data)),
        math.sqrt(sum(float(a @ a) for a in diff)),
    )


def _mean_abs(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    return float(np.abs(array).mean()) if array.size else 0.0
