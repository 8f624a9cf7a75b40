"""LSTM: long short-term memory over sequences.

Formula   (i, f, o, g)_t = W x_t + b + W_s static + U (cont_t * h_{t-1}), then the step of LSTMUnit
Bottoms   x (T, N, any...); cont (T, N): 0 where a sequence begins, else 1; optional static (N, any...), seen
          at every step; with expose_hidden h_0 and c_0 (1, N, H)
Tops      h (T, N, H); with expose_hidden h_T and c_T (1, N, H)
Params    recurrent_param { num_output: H  weight_filler, bias_filler = constant 0  expose_hidden = false };
          debug_info changes nothing here. Without expose_hidden a batch goes on from the last one's states
Blobs     W (4H, K), b (4H,), W_s (4H, K_s) if there is a static input, U (4H, H)
Gradient  exact through all steps of the batch and, as in Caffe, not beyond it: gradients of h_T and c_T are
          not used, those of h_0 and c_0 are 0. cont has none
Errors    number of bottoms and tops (setup); shapes that do not fit each other (reshape)
Source    Donahue et al. 2014 (arXiv 1411.4389); Caffe RecurrentLayer, LSTMLayer
"""

from __future__ import annotations

from nst.backend import Array
from nst.layers.lstm_unit import LSTMCell
from nst.layers.recurrent import Recurrent


class LSTM(Recurrent):
    type = "LSTM"
    states = 2
    gates = 4

    def add_recurrent_params(self) -> None:
        shape = (4 * self.hidden, self.hidden)
        self.w_hidden = self.add_param(shape, self.param.recurrent_param.weight_filler)

    def run(self, projected: Array, cont: Array, states: list[Array], y: Array) -> list[Array]:
        h, c = states
        weights = self.w_hidden.data.T
        self.cells: list[LSTMCell] = []
        self.seen: list[Array] = []
        """cont * h before every step: what the recurrent weights multiplied."""
        for t in range(len(projected)):
            self.seen.append(cont[t] * h)
            gates = projected[t] + self.seen[t] @ weights
            cell = LSTMCell.run(self.backend, gates, c, cont[t])
            self.cells.append(cell)
            h, c = cell.output, cell.state
            y[t] = h
        return [h.copy(), c.copy()]

    def run_back(self, dy: Array) -> Array:
        xp, weights = self.backend.xp, self.w_hidden.data
        dh, dc = xp.zeros_like(dy[0]), xp.zeros_like(dy[0])
        d_projected = self.backend.zeros((*dy.shape[:2], 4 * self.hidden), dy.dtype)
        for t in reversed(range(len(dy))):
            dc, d_projected[t] = self.cells[t].backward(dc, dy[t] + dh)
            dh = self.cells[t].cont * (d_projected[t] @ weights)
            if self.wants(self.w_hidden):
                self.w_hidden.diff[...] += d_projected[t].T @ self.seen[t]
        return d_projected
