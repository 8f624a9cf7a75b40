"""Recurrent: what RNN and LSTM have in common; sequences, carried states, the product with the input.

Caffe unrolls an inner net over time; here the layers loop over time themselves. Parameter blobs have the
inner net's order and shapes, so weights are interchangeable.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from nst.backend import Array
from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import count


class Recurrent(Layer):
    """Bottoms x (T, N, any...), cont (T, N), optional static (N, any...), with expose_hidden the states
    (1, N, H) to start from; tops h (T, N, H), with expose_hidden the last states (1, N, H)."""

    bottoms = Arity.at_least(2)
    tops = Arity.at_least(1)
    states: ClassVar[int]
    """How many state blobs are carried from step to step."""
    gates: ClassVar[int]
    """Values per hidden unit that the input is projected to."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.recurrent_param
        if p.num_output < 1:
            raise self.net_error("num_output must be positive (got 0)")
        self.hidden: int = p.num_output
        self.exposes: bool = p.expose_hidden
        self._check_wiring(len(bottom_shapes))
        self.has_static = len(bottom_shapes) - 2 - self.exposes * self.states == 1
        self._check_sequences(bottom_shapes)
        self.inputs = count(bottom_shapes[0], 2)
        rows = self.gates * self.hidden
        self.w_input = self.add_param((rows, self.inputs), p.weight_filler)
        self.b_input = self.add_param((rows,), p.bias_filler)
        if self.has_static:
            self.w_static = self.add_param((rows, count(bottom_shapes[2], 1)), p.weight_filler)
        self.add_recurrent_params()
        self.carried: list[Array] = []
        """States after the last forward: the next batch goes on from them, as in Caffe."""

    @abstractmethod
    def add_recurrent_params(self) -> None:
        """Creates the parameter blobs that follow the input's."""

    @abstractmethod
    def run(self, projected: Array, cont: Array, states: list[Array], y: Array) -> list[Array]:
        """Steps through projected (T, N, gates * H); fills y (T, N, H); returns the last states (N, H)."""

    @abstractmethod
    def run_back(self, dy: Array) -> Array:
        """Gradient of projected (T, N, gates * H) from dy (T, N, H).

        Adds to the diffs of the recurrent parameters on the way. Nothing flows in from the last states or
        out of the first: Caffe's inner net has its losses on y alone.
        """

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        self._check_sequences(bottom_shapes)
        steps, streams = bottom_shapes[0][:2]
        state = (1, streams, self.hidden)
        if count(bottom_shapes[0], 2) != self.inputs:
            raise self.shape_error(
                "Input size incompatible with inner product parameters. "
                f"(got bottom {bottom_shapes[0]}, expected {self.inputs} values from axis 2 on)"
            )
        for shape in bottom_shapes[2 + self.has_static :]:
            if shape != state:
                raise self.shape_error(f"wrong shape of a state (got {shape}, expected {state})")
        return [(steps, streams, self.hidden), *[state] * (self.exposes * self.states)]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        cont = bottom[1].data[:, :, None]  # (T, N, 1)
        last = self.run(self._project(bottom), cont, self._first_states(bottom), top[0].data)
        self.carried = last
        for blob, state in zip(top[1:], last, strict=False):
            blob.data[0] = state

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[1]:
            raise self.net_error("Cannot backpropagate to sequence indicators.")
        self._backward_input(self.run_back(top[0].diff), propagate_down, bottom)
        first = 2 + self.has_static
        for asked, state in zip(propagate_down[first:], bottom[first:], strict=True):
            if asked:
                state.diff[...] = 0

    def allows_force_backward(self, bottom_index: int) -> bool:
        return bottom_index != 1

    def wants(self, blob: Blob) -> bool:
        """Whether the gradient of this parameter blob is asked for."""
        index = next(i for i, mine in enumerate(self.params) if mine is blob)
        return self.params_propagate_down[index]

    def _project(self, bottom: Sequence[Blob]) -> Array:
        """W x + b (+ W_static static, the same at every step), (T, N, gates * H)."""
        steps, streams = bottom[0].shape[:2]
        x = bottom[0].data.reshape(steps * streams, self.inputs)
        z = (x @ self.w_input.data.T).reshape(steps, streams, -1)
        z += self.b_input.data
        if self.has_static:
            z += bottom[2].data.reshape(streams, -1) @ self.w_static.data.T
        return z

    def _backward_input(
        self, dz: Array, propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        steps, streams = bottom[0].shape[:2]
        flat = dz.reshape(steps * streams, -1)
        if self.wants(self.w_input):
            x = bottom[0].data.reshape(steps * streams, -1)
            self.backend.matmul(flat.T, x, self.w_input.diff, accumulate=True)
        if self.wants(self.b_input):
            self.b_input.diff[...] += flat.sum(axis=0)
        if propagate_down[0]:
            dx = bottom[0].diff.reshape(steps * streams, -1)
            self.backend.matmul(flat, self.w_input.data, dx)
        if not self.has_static:
            return
        d_static = dz.sum(axis=0)  # (N, gates * H)
        if self.wants(self.w_static):
            static = bottom[2].data.reshape(streams, -1)
            self.backend.matmul(d_static.T, static, self.w_static.diff, accumulate=True)
        if propagate_down[2]:
            ds = bottom[2].diff.reshape(streams, -1)
            self.backend.matmul(d_static, self.w_static.data, ds)

    def _first_states(self, bottom: Sequence[Blob]) -> list[Array]:
        """Exposed bottoms, else what the last forward left, else zeros; each (N, H)."""
        if self.exposes:
            return [blob.data[0] for blob in bottom[2 + self.has_static :]]
        shape = (bottom[0].shape[1], self.hidden)
        if any(state.shape != shape for state in self.carried) or not self.carried:
            return [self.backend.zeros(shape, self.context.dtype) for _ in range(self.states)]
        return self.carried

    def _check_wiring(self, bottom_count: int) -> None:
        states = self.states * self.exposes
        if bottom_count not in (2 + states, 3 + states) or len(self.param.top) != 1 + states:
            raise self.net_error(
                f"expose_hidden: {str(self.exposes).lower()} takes {2 + states} bottoms, or "
                f"{3 + states} with a static input, and {1 + states} tops "
                f"(got {bottom_count} bottoms and {len(self.param.top)} tops)"
            )

    def _check_sequences(self, bottom_shapes: Sequence[Shape]) -> None:
        x, cont = bottom_shapes[:2]
        if len(x) < 2:
            raise self.shape_error(
                f"bottom[0] must have at least 2 axes -- (#timesteps, #streams, ...) (got {x})"
            )
        if cont != x[:2]:
            raise self.shape_error(
                "bottom[1] must have exactly 2 axes -- (#timesteps, #streams) "
                f"(got {cont}, expected {x[:2]})"
            )
        if self.has_static and bottom_shapes[2][:1] != x[1:2]:
            raise self.shape_error(
                f"the static input needs one row per stream (got {bottom_shapes[2]}, expected "
                f"{x[1]} rows)"
            )
