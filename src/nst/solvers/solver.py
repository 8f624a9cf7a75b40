"""Solver: the step loop that all update rules share (Caffe's Solver::Step and Solver::Solve).

One iteration, in this order:

    test nets, if due          callbacks on_start          forward and backward, iter_size times
    loss finite?               smoothing and display       callbacks on_gradients_ready
    best values                update by the rule          iteration + 1
    callbacks on_iteration     snapshot, if due or asked   stop, if asked

A rule is a subclass that implements `_update`, and `_memory` and `_take_memory` for snapshots.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from os import PathLike
from typing import ClassVar

from nst.errors import Diverged
from nst.proto import SolverParameter
from nst.solvers.bounds import check_bounds, project
from nst.solvers.contract import Bounds, TrainableNet, WeightsFiles
from nst.solvers.display import debug_info, log, log_iteration
from nst.solvers.lr_policy import LearningRate
from nst.solvers.record import BestValues, IterationRecord, SmoothedLoss, StopReason
from nst.solvers.resumable import Resumable
from nst.solvers.settings import check_settings
from nst.solvers.testing import run_test

Callback = Callable[[], None]
TestResults = list[dict[str, list[float]]]


class Solver(Resumable):
    """Trains `net` as `param` says.

    Args:
        param: the settings; copied, so later changes of the argument have no effect.
        net: the net to train. The solver changes its learnable parameters in place.
        test_nets: one net per entry of `test_iter`; each test lends them the trained weights.
        weights_files: how snapshots write and read weights; without it they are refused.
        bounds: limits of each learnable parameter, or None for those without.
        keep_best: copy the values with the smallest loss, and go back to them when the run diverges.

    Raises UsageError for settings that contradict themselves.
    """

    type: ClassVar[str]
    uses_rate: ClassVar[bool] = True
    """Whether the rule follows base_lr and lr_policy."""

    def __init__(
        self,
        param: SolverParameter,
        net: TrainableNet,
        *,
        test_nets: Sequence[TrainableNet] = (),
        weights_files: WeightsFiles | None = None,
        bounds: Sequence[Bounds | None] | None = None,
        keep_best: bool = False,
    ) -> None:
        policy = LearningRate(param) if self.uses_rate else None
        super().__init__(param, net, weights_files, policy)
        self.test_nets = list(test_nets)
        self.bounds = check_bounds(bounds, net.learnable_params)
        self.evaluations = 0
        self.steps_before = 0
        """Steps that another solver made, whose memory this one goes on with: Adam counts them in."""
        self.stop_reason: StopReason | None = None
        self.best: BestValues | None = BestValues() if keep_best else None
        self.on_start: list[Callback] = []
        self.on_gradients_ready: list[Callback] = []
        self.on_iteration: list[Callable[[IterationRecord], None]] = []
        self.on_test: list[Callable[[int, TestResults], None]] = []
        """Called after every test with the iteration and the mean outputs of each test net."""
        self._active = [
            blob for blob, lr in zip(net.learnable_params, net.params_lr, strict=True) if lr != 0
        ]
        self._smoothed = SmoothedLoss(1)
        self._stop_requested = self._snapshot_requested = False
        check_settings(self.param, len(self.test_nets))
        if param.snapshot > 0:
            self._check_snapshots()

    # ---- running --------------------------------------------------------------------------------

    def solve(self, resume: str | PathLike[str] | None = None) -> None:
        """Runs until `max_iter`, from a solver state if one is named; snapshots and tests at the end."""
        if self.param.snapshot_after_train:
            self._check_snapshots()
        if resume is not None:
            self.restore(resume)
        log.info("Solving %s", self.net.name)
        if self._policy:
            log.info("Learning Rate Policy: %s", self.param.lr_policy)
        self.step(self.param.max_iter - self.iter)
        if self.param.snapshot_after_train and self._last_snapshot != self.iter:
            self.snapshot()
        if self.stop_reason is StopReason.REQUESTED:
            log.info("Optimization stopped early.")
            return
        if self.param.display and self.iter % self.param.display == 0:
            loss = self._smoothed.add(self.net.forward_from_to())
            log.info("Iteration %d, loss = %.6g", self.iter, loss)
        if self.param.test_interval and self.iter % self.param.test_interval == 0:
            self.test_all()
        if self.stop_reason in (StopReason.CONVERGED, StopReason.NO_PROGRESS):
            log.info("Iteration %d, stopped: %s", self.iter, self.stop_reason.value)
        log.info("Optimization Done.")

    def step(self, iterations: int) -> None:
        """Makes that many iterations, or fewer: `stop_reason` tells why it returned."""
        self._begin()
        end = self.iter + iterations
        self.stop_reason = None
        while self.iter < end and self.stop_reason is None:
            self.stop_reason = self._iterate()
        self.stop_reason = self.stop_reason or StopReason.ITERATIONS

    def request_stop(self) -> None:
        """Ends the run after the iteration in progress. May be called from a signal handler or thread."""
        self._stop_requested = True

    def request_snapshot(self) -> None:
        """Takes a snapshot after the iteration in progress. May be called like `request_stop`."""
        self._snapshot_requested = True

    def add_callback(self, on_start: Callback, on_gradients_ready: Callback) -> None:
        """pycaffe's: called before each iteration's forward, and between its backward and update."""
        self.on_start.append(on_start)
        self.on_gradients_ready.append(on_gradients_ready)

    def apply_update(self) -> None:
        """Makes one update from the diffs that are in the net; `iter` stays (pycaffe's apply_update)."""
        self._update(self._rate())

    @property
    def lr(self) -> float:
        """The learning rate of the coming iteration; reading it changes nothing, unlike in Caffe."""
        return self._policy.peek(self.iter) if self._policy else 1.0

    def test_all(self) -> list[dict[str, list[float]]]:
        """Tests every test net; returns the mean outputs of each, fewer if a stop was requested."""
        results = []
        for number, (net, batches) in enumerate(
            zip(self.test_nets, self.param.test_iter, strict=True)
        ):
            means = run_test(
                number,
                net,
                self.net,
                batches,
                with_loss=self.param.test_compute_loss,
                with_debug_info=self.param.debug_info,
                iteration=self.iter,
                interrupted=lambda: self._stop_requested,
            )
            if means is None:
                break
            results.append(means)
        for callback in self.on_test:
            callback(self.iter, results)
        return results

    # ---- what a rule writes -----------------------------------------------------------------------

    @abstractmethod
    def _update(self, rate: float) -> StopReason | None:
        """Changes the parameters by their diffs; a reason means that nothing was changed."""

    def _begin(self) -> None:
        """Called at the start of every `step`: what is known about the net may have changed."""
        self._smoothed = SmoothedLoss(self.param.average_loss)

    def _evaluate(self) -> float:
        """Loss and diffs at the parameters of this iteration."""
        return self._forward_backward()

    def _record(self, loss: float, rate: float) -> IterationRecord:
        """What to tell about the iteration that was just made, begun at `loss`."""
        return IterationRecord(
            self.iter, loss, self._smoothed.value, self.net.loss_terms(), rate, self.evaluations
        )

    # ---- one iteration ------------------------------------------------------------------------------

    def _iterate(self) -> StopReason | None:
        self._test_if_due()
        if self._take_stop_request():
            return StopReason.REQUESTED
        for callback in self.on_start:
            callback()
        displayed = self.param.display > 0 and self.iter % self.param.display == 0
        with debug_info(self.net, displayed and self.param.debug_info):
            loss = self._evaluate()
        self._check_finite(loss)
        self._smoothed.add(loss)
        rate = self._rate()
        if displayed:
            log_iteration(self.net, self.iter, self._smoothed.value, rate)
        for callback in self.on_gradients_ready:
            callback()
        if self.best is not None:
            self.best.offer(loss, self.iter, self._active)
        stop = self._update(rate)
        if stop is None:
            self.iter += 1
            self._after_update(loss, rate)
        return StopReason.REQUESTED if self._take_stop_request() else stop

    def _after_update(self, loss: float, rate: float) -> None:
        record = self._record(loss, rate)
        for observe in self.on_iteration:
            observe(record)
        due = self.param.snapshot > 0 and self.iter % self.param.snapshot == 0
        if due or self._snapshot_requested:
            self._snapshot_requested = False
            self.snapshot()

    def _forward_backward(self) -> float:
        """Clears the diffs, adds up `iter_size` passes; returns their mean loss."""
        self.net.clear_param_diffs()
        loss = sum(self.net.forward_backward() for _ in range(self.param.iter_size))
        self.evaluations += self.param.iter_size
        return loss / self.param.iter_size

    def _rate(self) -> float:
        return self._policy.advance(self.iter) if self._policy else 1.0

    def _test_if_due(self) -> None:
        interval = self.param.test_interval
        due = interval > 0 and self.iter % interval == 0
        if due and (self.iter > 0 or self.param.test_initialization):
            self.test_all()

    def _take_stop_request(self) -> bool:
        requested, self._stop_requested = self._stop_requested, False
        return requested

    def _check_finite(self, loss: float) -> None:
        """Raises Diverged for a NaN or infinite loss, after going back to the best values, if kept."""
        if abs(loss) < float("inf"):
            return
        where = self.net.find_non_finite() or "the sum of the losses"
        kept = ""
        if self.best is not None and self.best.iteration >= 0:
            self.best.restore(self._active)
            kept = f" The net holds the best values, of iteration {self.best.iteration}."
        raise Diverged(
            f"the loss is no longer finite (got {loss!r}), first in {where}. "
            f"Lower base_lr or the loss weights.{kept}",
            iteration=self.iter,
        )

    def _project(self) -> None:
        """Moves the parameters into their bounds."""
        for blob, limits in zip(self.net.learnable_params, self.bounds, strict=True):
            project(blob, limits)
