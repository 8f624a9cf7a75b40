"""Testing while training: mean outputs of the test nets over `test_iter` batches (Caffe Solver::Test)."""

from __future__ import annotations

from collections.abc import Callable

from nst.solvers.contract import TrainableNet
from nst.solvers.display import debug_info, log, log_outputs, output_values


def run_test(
    number: int,
    net: TrainableNet,
    trained: TrainableNet,
    batches: int,
    *,
    with_loss: bool,
    with_debug_info: bool,
    iteration: int,
    interrupted: Callable[[], bool],
) -> dict[str, list[float]] | None:
    """Runs `batches` forwards of a test net on the weights of `trained`.

    Returns the mean of each value of each output blob, or None if a stop was requested in between.
    """
    log.info("Iteration %d, Testing net (#%d)", iteration, number)
    net.share_trained_layers_with(trained)
    sums: dict[str, list[float]] = {}
    loss = 0.0
    for _ in range(batches):
        if interrupted():
            log.info("Test interrupted.")
            return None
        with debug_info(net, with_debug_info, training=False):
            loss += net.forward_from_to()
        for name, values in output_values(net).items():
            so_far = sums.get(name, [0.0] * len(values))
            sums[name] = [a + b for a, b in zip(so_far, values, strict=True)]
    if with_loss:
        log.info("Test loss: %.6g", loss / batches)
    means = {name: [value / batches for value in values] for name, values in sums.items()}
    log_outputs("Test net", net, means)
    return means
