"""Step 8: the solver that paints, and what it tells after every iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.backend import Backend
from nst.errors import SnapshotError
from nst.io.picture_transform import PictureTransform
from nst.io.snapshot import Snapshot
from nst.net import Net
from nst.proto import SolverParameter
from nst.solvers import GradientRule, IterationRecord, Solver, build_solver
from nst.style.averaging import IterateMean
from nst.style.hand_over import resize_moment
from nst.style.transfer import image_of

DEFAULT_CORRECTIONS = 20
"""Pairs that L-BFGS remembers when nothing is said: each costs two pictures of float32."""


class Painter:
    """A painting net and the solver that moves its picture.

    Args:
        net: what `transfer.build_painting_net` made.
        settings: Caffe's solver fields; `style_transfer_param` says how L-BFGS steps and clamps.
        iterations: how many to make at this size.
        transform: how the picture was encoded, for the bounds and for `picture`.
        steps_before: iterations at smaller sizes whose moments `carry_moments` will hand over.
    """

    def __init__(
        self,
        net: Net,
        settings: SolverParameter,
        iterations: int,
        transform: PictureTransform,
        steps_before: int = 0,
    ) -> None:
        self.net = net
        self.transform = transform
        self.iterations = iterations
        self.average = IterateMean.of(settings.style_transfer_param, iterations)
        self._param = _solver_settings(settings, iterations)
        self._steps_before = steps_before
        self.solver = self._build_solver(self._param)

    def solve(self, observe: Callable[[IterationRecord], None] | None = None) -> None:
        """Runs the solver to its end, or until `request_stop`; raises Diverged with the best kept."""
        if self.average.is_on:
            if self.solver.iter == 0 and self.average.total is None:
                self.average.add(0, self.pixels())
            self.solver.on_iteration.append(
                lambda record: self.average.add(record.iteration, self.pixels())
            )
        if observe is not None:
            self.solver.on_iteration.append(observe)
        self.solver.step(self.iterations - self.solver.iter)

    def request_stop(self) -> None:
        """Ends after the iteration in progress; may be called from a signal handler."""
        self.solver.request_stop()

    def restart(self, rate_factor: float) -> None:
        """A new solver, with nothing remembered and base_lr times `rate_factor`, if its rule has a rate."""
        evaluations = self.solver.evaluations
        param = SolverParameter()
        param.CopyFrom(self._param)
        if self.solver.uses_rate:
            param.base_lr *= rate_factor
        self.solver = self._build_solver(param)
        self.solver.evaluations = evaluations
        self.average.forget()

    def put(self, pixels: NDArray[Any], state: Snapshot) -> None:
        """Continues from a picture (1, C, H, W) as the net sees it, and the solver state of that moment.

        Raises SnapshotError if the state belongs to another rule or size.
        """
        image = image_of(self.net)
        if pixels.shape != image.shape:
            raise SnapshotError(
                f"the picture does not fit the run (got {pixels.shape}, expected {image.shape})"
            )
        self.solver.restore_state(state)
        image.data[...] = self.net.backend.asarray(pixels, image.dtype)

    def take_moments(self, moments: Sequence[NDArray[Any]]) -> None:
        """A first-order rule goes on with the moments of a smaller size, enlarged to this one."""
        size = image_of(self.net).shape[2:]
        for here, moment in zip(self._memory(), moments, strict=False):
            here[...] = self.net.backend.asarray(resize_moment(moment, size), here.dtype)

    def moments(self) -> list[NDArray[np.float32]]:
        """What a first-order rule remembers of the picture, (1, C, H, W) each; nothing of other rules."""
        return [np.array(self.net.backend.to_host(here), np.float32) for here in self._memory()]

    def _memory(self) -> list[Any]:
        """The arrays of a first-order rule; the picture is all that is not frozen."""
        rule = self.solver
        return [arrays[0] for arrays in rule.history] if isinstance(rule, GradientRule) else []

    def show_best(self) -> None:
        """Puts the picture with the smallest loss that this solver has seen back into the net."""
        if self.solver.best is not None:
            self.solver.best.restore([image_of(self.net)])

    def pixels(self, into: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """A copy of the picture as the net sees it: (1, C, H, W), preprocessed.

        into: what an earlier call returned, to be written anew.
        """
        return self.net.backend.copy_to_host(image_of(self.net).data, into)

    def picture(self) -> NDArray[np.float32]:
        """The picture as RGB (H, W, 3), neither rounded nor clipped."""
        return self.transform.decode(self.pixels())

    def result(self) -> NDArray[np.float32]:
        """What this size gives: `picture`, or with `average_...` the mean of its iterates."""
        mean = self.average.mean
        return self.picture() if mean is None else self.transform.decode(mean)

    def _build_solver(self, param: SolverParameter) -> Solver:
        is_clamped = param.style_transfer_param.clamp
        bounds = [_pixel_bounds(self.net.backend, self.transform)] if is_clamped else None
        solver = build_solver(
            param, self.net, bounds=_only_for_image(self.net, bounds), keep_best=True
        )
        solver.steps_before = self._steps_before
        return solver


def wanted_corrections(settings: SolverParameter) -> int:
    """Pairs that L-BFGS is to remember, by the settings of a run."""
    named = settings.HasField("lbfgs_corrections")
    return settings.lbfgs_corrections if named else DEFAULT_CORRECTIONS


def _solver_settings(settings: SolverParameter, iterations: int) -> SolverParameter:
    """Caffe's fields for one size: no test nets, no decay of the picture, its own iteration count."""
    param = SolverParameter()
    param.CopyFrom(settings)
    for name in ("net", "net_param", "weights", "snapshot_prefix", "test_interval", "snapshot"):
        param.ClearField(name)
    param.max_iter = iterations
    param.snapshot_after_train = False
    if not param.HasField("type"):
        param.type = "LBFGS"
    if not param.HasField("lr_policy"):
        param.lr_policy = "fixed"
    if not param.HasField("base_lr"):
        param.base_lr = 1.0
    param.lbfgs_corrections = wanted_corrections(settings)
    return param


def _pixel_bounds(backend: Backend, transform: PictureTransform) -> tuple[Any, Any]:
    """What encodes to 0 and 255 of each channel, as (1, C, 1, 1) arrays, the smaller first."""
    black = transform.encode(np.zeros((1, 1, 3), np.float32))
    white = transform.encode(np.full((1, 1, 3), 255, np.float32))
    return (
        backend.asarray(np.minimum(black, white), np.float32),
        backend.asarray(np.maximum(black, white), np.float32),
    )


def _only_for_image(net: Net, bounds: list[tuple[Any, Any]] | None) -> Sequence[Any] | None:
    """Bounds list over all learnable blobs, of which only the picture's has any."""
    if bounds is None:
        return None
    image = image_of(net)
    return [bounds[0] if blob is image else None for blob in net.learnable_params]
