"""Net: builds layers and blobs from a NetParameter, runs them forward and backward.

    description -> filter_layers -> insert_splits -> wire -> layers and blobs -> plan_backward

A net lives on one backend and in one dtype. It reads no files: weights come in as plain mappings.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nst.backend import Backend
from nst.backend.operations import Runner
from nst.backend.programs import Program, ProgramLayer
from nst.core import TEST, Blob, Layer, LayerContext, RandomSource, Shape
from nst.net.callbacks import Callbacks
from nst.net.diagnosis import find_non_finite
from nst.net.lowering import Execution, lower
from nst.net.params import Learnable, ParamRegistry, lr_mults
from nst.net.passes import filter_layers, insert_splits
from nst.net.plan import BackwardPlan, PlannedLayer, Wiring, overwritten, plan_backward, wire
from nst.net.program import Compilation, program_layers
from nst.net.view import NetView
from nst.net.weights import CopyReport, StoredWeights, copy_into, share_params
from nst.proto import NetParameter, NetState

_log = logging.getLogger("nst.net")


class Net(NetView):
    """A runnable net.

    Args:
        param: the description, already upgraded to current form; it is not changed.
        backend: where arrays live and the work is done.
        phase, level, stages: the state; phase and level override the description's, stages add to it.
        dtype: float32, or float64 for gradient checks.
        rng: source of all random numbers (fillers, dropout, data). allow_python: PYTHON layers run code.
        recycle_gradients: let gradients of inner blobs share memory where the backend can. Quicker and
            smaller; asking for one afterwards is an error. Backward must then run as a whole. A backend that
            compiles the net then keeps values of inner blobs only of a net without backward, or those named
            by keep_values.

    Raises NetError, ShapeError for a description that cannot be built, naming the layer.
    """

    def __init__(
        self,
        param: NetParameter,
        *,
        backend: Backend,
        phase: int = TEST,
        level: int = 0,
        stages: Sequence[str] = (),
        dtype: DTypeLike = np.float32,
        rng: RandomSource | None = None,
        allow_python: bool = False,
        recycle_gradients: bool = False,
        keep_values: Collection[str] | None = None,
    ) -> None:
        state = NetState(level=level, stage=[*param.state.stage, *stages])
        state.phase = phase  # type: ignore[assignment]  # plain ints are Caffe's own phase constants
        self.param = insert_splits(filter_layers(param, state))
        self.name: str = param.name
        self.phase = phase
        self.backend = backend
        self.rng = rng or RandomSource()
        self.context = LayerContext(backend, np.dtype(dtype), phase, self.rng, allow_python)
        self.wiring: Wiring = wire(self.param)
        self.blob_list = [Blob(backend, dtype=dtype, name=n) for n in self.wiring.blob_names]
        self.blobs = dict(zip(self.wiring.blob_names, self.blob_list, strict=True))
        blobs, planned_layers = self.blob_list, self.wiring.layers
        self._bottoms = [[blobs[number] for number in layer.bottoms] for layer in planned_layers]
        self._tops = [[blobs[number] for number in layer.tops] for layer in planned_layers]
        self.layers: list[Layer] = []
        self.registry = ParamRegistry()
        self._param_entries: list[list[Learnable]] = []
        self._seen_shapes: list[list[Shape] | None] = []
        for planned in self.wiring.layers:
            self._build(planned)
        for index in overwritten(self.wiring):
            self.layers[index].top_is_overwritten = True
        self.backward_plan = self._plan_backward()
        self._runner, self.execution = self._lower(recycle_gradients)
        self._compilation = Compilation(recycle_gradients and backend.compiles_nets)
        self._keep_values = keep_values
        self.before_forward, self.after_forward = Callbacks(), Callbacks()
        self.before_backward, self.after_backward = Callbacks(), Callbacks()

    # ---- running -------------------------------------------------------------------------------

    def forward_from_to(self, first: int = 0, last: int | None = None) -> float:
        """Runs layers first .. last (inclusive, all by default); returns their weighted loss.

        Every layer adapts to the shape of its bottoms first, so an input may be reshaped at any time.
        """
        by_layers = last is not None or self._is_watched
        program = self._compilation.enter(self._compile, first, by_layers)
        if program is not None:
            program.forward()
            return sum(program.loss_terms().values())
        loss = 0.0
        with self._run():
            for i in range(first, self._last(last) + 1):
                self._tell(self.before_forward, i)
                loss += self._forward_layer(i)
                self._tell(self.after_forward, i)
        return loss

    def backward_from_to(self, first: int | None = None, last: int = 0) -> None:
        """Runs backward from layer `first` (the last one by default) down to `last`, inclusive.

        Starts from what is in the top diffs; overwrites bottom diffs, adds to parameter diffs.
        """
        program = self._compilation.current
        if program is not None and first is None and last == 0 and not self._is_watched:
            program.backward()
            return
        with self._run():
            for i in range(self._last(first), last - 1, -1):
                self._tell(self.before_backward, i)
                if self.backward_plan.layers[i]:
                    self._backward_layer(i)
                self._tell(self.after_backward, i)

    def forward_backward(self) -> float:
        """One forward and one backward pass; returns the weighted loss."""
        program = self._compilation.enter(self._compile, 0, self._is_watched)
        if program is not None:
            program.forward_backward()
            return sum(program.loss_terms().values())
        loss = self.forward_from_to()
        self.backward_from_to()
        return loss

    def reshape(self) -> None:
        """Propagates the shapes of the inputs through the net without computing anything."""
        for i in range(len(self.layers)):
            self._reshape_layer(i)

    def clear_param_diffs(self) -> None:
        """Sets the gradients of all parameters to zero; memory that was never made stays unmade."""
        for learnable in self.registry.learnables:
            if learnable.blob.has_diff:
                learnable.blob.diff[...] = 0

    def loss_terms(self) -> dict[str, float]:
        """Weighted loss per loss blob, as of the last forward."""
        if self._compilation.current is not None:
            return self._compilation.current.loss_terms()
        return {
            self.wiring.blob_names[planned.tops[j]]: self._loss_term(i, j)
            for i, planned in enumerate(self.wiring.layers)
            for j, weight in enumerate(self.layers[i].loss_weights)
            if weight
        }

    def find_non_finite(self) -> str:
        """Names the first layer and blob that hold a NaN or infinity; empty if all is finite."""
        if self._compilation.current is not None:
            self.forward_from_to(
                0, self._last(None)
            )  # layer by layer: a program keeps no inner values
        return find_non_finite(self.wiring, self.blob_list)

    # ---- weights -------------------------------------------------------------------------------

    def copy_weights(self, source: StoredWeights) -> CopyReport:
        """Fills parameters by layer name; see `nst.net.weights`. Raises WeightsError on a misfit."""
        return copy_into(self.layers, source, self.registry.owners())

    def weights(self) -> dict[str, list[NDArray[Any]]]:
        """Copies of all parameter values by layer name, on the host."""
        return {
            layer.name: [np.array(blob.to_host()) for blob in layer.params]
            for layer in self.layers
            if layer.params
        }

    def share_trained_layers_with(self, other: Net) -> None:
        """Makes the parameters the same memory as those of equally named layers of `other`."""
        share_params(self.layers, other.layers)

    # ---- building ------------------------------------------------------------------------------

    def _build(self, planned: PlannedLayer) -> None:
        layer = planned.layer_type(planned.param, self.context)
        top, bottom = self.tops_of(planned.index), self.bottoms_of(planned.index)
        layer.check_arity(len(bottom), len(top))
        layer.check_in_place(bool(set(planned.tops) & set(planned.bottoms)))
        layer.loss_weights = layer.read_loss_weights(len(top))
        layer.setup([blob.shape for blob in bottom])
        self.layers.append(layer)
        self._seen_shapes.append(None)
        self._reshape_layer(planned.index)
        self._param_entries.append(self.registry.add_layer(layer))
        _log.info("%s", layer.describe(bottom, top))

    def _plan_backward(self) -> BackwardPlan:
        mults = [
            lr_mults(entries, layer.param.param)
            for entries, layer in zip(self._param_entries, self.layers, strict=True)
        ]
        plan = plan_backward(
            self.wiring, self.layers, mults, force_backward=self.param.force_backward
        )
        for layer, wanted in zip(self.layers, plan.params, strict=True):
            layer.params_propagate_down = list(wanted)
        return plan

    def _lower(self, recycle: bool) -> tuple[Runner | None, Execution]:
        """The backend's runner for this net, if it has one, and what it may do."""
        shapes = [seen or [] for seen in self._seen_shapes]
        execution = lower(self.wiring, self.layers, shapes, self.backward_plan, recycle=recycle)
        return self.backend.runner(execution.gradients), execution

    def _compile(self) -> Program | None:
        """The whole net as the backend's program, for its present shapes."""
        self.reshape()
        layers = self.program_layers()
        return None if layers is None else self.backend.program(layers)

    def program_layers(self) -> list[ProgramLayer] | None:
        """What a backend compiles; None for a net that cannot be compiled."""
        parts = self.wiring, self.layers, self.execution.steps, self.backward_plan, self.blob_list
        return program_layers(*parts, self._keep_values)

    @property
    def _is_watched(self) -> bool:
        """Whether there are callbacks, which see one layer after the other."""
        lists = (self.before_forward, self.after_forward, self.before_backward, self.after_backward)
        return any(lists)

    # ---- one layer -----------------------------------------------------------------------------

    def _forward_layer(self, index: int) -> float:
        layer = self.layers[index]
        self._reshape_layer(index)
        top, bottom, step = self.tops_of(index), self.bottoms_of(index), self.execution.steps[index]
        runner = self._runner
        if not (runner and runner.forward(step, bottom, top, layer.params)):
            layer.forward(bottom, top)
        return sum(self._loss_term(index, j) for j, w in enumerate(layer.loss_weights) if w)

    def _backward_layer(self, index: int) -> None:
        layer, wanted = self.layers[index], self.backward_plan.bottoms[index]
        top, bottom, step = self.tops_of(index), self.bottoms_of(index), self.execution.steps[index]
        params, runner = (layer.params, layer.params_propagate_down), self._runner
        if not (runner and runner.backward(step, top, wanted, bottom, *params)):
            layer.backward(top, wanted, bottom)

    def _tell(self, callbacks: Callbacks, index: int) -> None:
        if callbacks and self._runner:
            self._runner.flush()
        for callback in callbacks:
            callback(index)

    @contextmanager
    def _run(self) -> Iterator[None]:
        """One forward or backward run; the runner leaves nothing half done behind.

        NaN and infinity flow through as in Caffe; the solver finds them and names their layer.
        """
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                yield
        finally:
            if self._runner:
                self._runner.finish()

    def _loss_term(self, index: int, top: int) -> float:
        blob = self.tops_of(index)[top]
        return self.backend.dot(blob.data, blob.diff)

    def _reshape_layer(self, index: int) -> None:
        """Lets the layer adapt to its bottoms; loss tops get their weight as diff (SetLossWeights)."""
        layer = self.layers[index]
        bottom, top = self.bottoms_of(index), self.tops_of(index)
        shapes = [blob.shape for blob in bottom]
        if self._seen_shapes[index] == shapes and not layer.reshapes_every_time:
            return
        before = [blob.shape for blob in top]
        is_first = self._seen_shapes[index] is None
        layer.reshape(bottom, top)
        self._seen_shapes[index] = shapes
        for blob, weight, old in zip(top, layer.loss_weights, before, strict=True):
            if weight and (is_first or blob.shape != old):
                blob.diff[...] = weight

    def _last(self, index: int | None) -> int:
        return len(self.layers) - 1 if index is None else index
