"""LSTMUnit: one time step of a long short-term memory, given the gates before their nonlinearity.

Formula   x = (i, f, o, g); c = cont * s(f) * c_prev + s(i) * tanh(g), h = s(o) * tanh(c), s = sigmoid
          dc' = dc + dh * s(o) * (1 - tanh^2 c), dc_prev = dc' * cont * s(f);  di = dc' * tanh(g) * s'(i),
          df = dc' * cont * c_prev * s'(f), do = dh * tanh(c) * s'(o), dg = dc' * s(i) * (1 - tanh^2 g)
Bottoms   c_prev (1, N, H); x (1, N, 4H): gates in the order i, f, o, g; cont (1, N): 0 where a sequence
          begins, else 1
Tops      c (1, N, H), h (1, N, H)
Gradient  exact; cont has none
Errors    shapes that do not fit each other (reshape)
Source    Hochreiter, Schmidhuber 1997; Caffe LSTMUnitLayer, which MyCaffe and Caffe use inside LSTM
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nst.backend import Array, Backend
from nst.core import Arity, Blob, Layer, Shape
from nst.layers.sigmoid import sigmoid


class LSTMUnit(Layer):
    type = "LSTMUnit"
    bottoms = Arity.exactly(3)
    tops = Arity.exactly(2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        return None

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        state, gates, cont = bottom_shapes
        streams, hidden = (*state[1:], 0, 0)[:2]
        if len(state) != 3 or state[0] != 1 or gates != (1, streams, 4 * hidden):
            raise self.shape_error(
                "needs a state (1, N, H) and gates (1, N, 4H) "
                f"(got {state} and {gates}, expected gates {(1, streams, 4 * hidden)})"
            )
        if cont != (1, streams):
            raise self.shape_error(f"cont must be (1, N) (got {cont}, expected {(1, streams)})")
        return [state, state]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        state, gates, cont = (blob.data[0] for blob in bottom)
        self.cell = LSTMCell.run(self.backend, gates, state, cont[:, None])
        top[0].data[0] = self.cell.state
        top[1].data[0] = self.cell.output

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[2]:
            raise self.net_error("Cannot backpropagate to sequence indicators.")
        before, gates = self.cell.backward(top[0].diff[0], top[1].diff[0])
        if propagate_down[0]:
            bottom[0].diff[0] = before
        if propagate_down[1]:
            bottom[1].diff[0] = gates

    def allows_force_backward(self, bottom_index: int) -> bool:
        return bottom_index != 2


@dataclass
class LSTMCell:
    """What one step computed and its gradient needs; all (N, H) but cont (N, 1)."""

    backend: Backend
    before: Array
    cont: Array
    gates: Array
    """(N, 4H) behind their nonlinearity."""
    state: Array
    output: Array

    @classmethod
    def run(cls, backend: Backend, gates: Array, before: Array, cont: Array) -> LSTMCell:
        """One step from the state `before`, given the gates (N, 4H) before their nonlinearity."""
        hidden = before.shape[1]
        active = backend.xp.empty_like(gates)
        sigmoid(backend, gates[:, : 3 * hidden], active[:, : 3 * hidden])
        backend.xp.tanh(gates[:, 3 * hidden :], out=active[:, 3 * hidden :])
        i, f, o, g = _quarters(active)
        state = cont * f * before + i * g
        return cls(backend, before, cont, active, state, o * backend.xp.tanh(state))

    def backward(self, d_state: Array, d_output: Array) -> tuple[Array, Array]:
        """Gradients of (state before, gates before their nonlinearity (N, 4H))."""
        xp = self.backend.xp
        i, f, o, g = _quarters(self.gates)
        squashed = xp.tanh(self.state)
        d_total = d_state + d_output * o * (1 - squashed * squashed)
        d_gates = xp.empty_like(self.gates)
        di, df, do, dg = _quarters(d_gates)
        di[...] = d_total * g * i * (1 - i)
        df[...] = d_total * self.cont * self.before * f * (1 - f)
        do[...] = d_output * squashed * o * (1 - o)
        dg[...] = d_total * i * (1 - g * g)
        return d_total * self.cont * f, d_gates


def _quarters(gates: Array) -> tuple[Array, Array, Array, Array]:
    hidden = gates.shape[1] // 4
    i, f, o, g = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
    return i, f, o, g
