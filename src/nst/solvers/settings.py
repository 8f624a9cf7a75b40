"""What every rule asks of its SolverParameter, checked before anything runs."""

from __future__ import annotations

from nst.errors import UsageError
from nst.proto import SolverParameter


def check_settings(param: SolverParameter, test_nets: int) -> None:
    """Raises UsageError, in Caffe's words where it has some, for settings that cannot work."""
    if test_nets != len(param.test_iter):
        raise UsageError(
            "test_iter: test_iter must be specified for each test network "
            f"(got {len(param.test_iter)} entries for {test_nets} test nets)"
        )
    if test_nets and param.test_interval <= 0:
        raise UsageError(
            f"test_interval: needed with test nets (got {param.test_interval}, expected > 0)"
        )
    for name in ("iter_size", "average_loss"):
        if getattr(param, name) < 1:
            raise UsageError(f"{name}: got {getattr(param, name)}, expected at least 1")
    for name in ("max_iter", "display", "snapshot", "test_interval"):
        if getattr(param, name) < 0:
            raise UsageError(f"{name}: got {getattr(param, name)}, expected 0 or more")
    if any(batches < 1 for batches in param.test_iter):
        raise UsageError(f"test_iter: got {list(param.test_iter)}, expected at least 1 each")
