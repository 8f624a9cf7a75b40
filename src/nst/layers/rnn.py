"""RNN: the plain recurrent network.

Formula   h_t = tanh(W x_t + b + W_s static + U (cont_t * h_{t-1})), y_t = tanh(V h_t + b_y)
Bottoms   x (T, N, any...); cont (T, N): 0 where a sequence begins, else 1; optional static (N, any...), seen
          at every step; with expose_hidden h_0 (1, N, H)
Tops      y (T, N, H); with expose_hidden h_T (1, N, H)
Params    recurrent_param { num_output: H  weight_filler, bias_filler = constant 0  expose_hidden = false };
          debug_info changes nothing here. Without expose_hidden a batch goes on from the last one's state
Blobs     W (H, K), b (H,), W_s (H, K_s) if there is a static input, U (H, H), V (H, H), b_y (H,)
Gradient  exact through all steps of the batch and, as in Caffe, not beyond it: the gradient of h_T is not
          used, that of h_0 is 0. cont has none
Errors    number of bottoms and tops (setup); shapes that do not fit each other (reshape)
Source    Caffe RecurrentLayer, RNNLayer
"""

from __future__ import annotations

from nst.backend import Array
from nst.layers.recurrent import Recurrent


class RNN(Recurrent):
    type = "RNN"
    states = 1
    gates = 1

    def add_recurrent_params(self) -> None:
        p = self.param.recurrent_param
        square = (self.hidden, self.hidden)
        self.w_hidden = self.add_param(square, p.weight_filler)
        self.w_output = self.add_param(square, p.weight_filler)
        self.b_output = self.add_param((self.hidden,), p.bias_filler)

    def run(self, projected: Array, cont: Array, states: list[Array], y: Array) -> list[Array]:
        xp = self.backend.xp
        h = states[0]
        weights = self.w_hidden.data.T
        self.cont = cont.copy()
        self.seen: list[Array] = []
        """cont * h before every step: what the recurrent weights multiplied."""
        self.after: list[Array] = []
        for t in range(len(projected)):
            self.seen.append(cont[t] * h)
            h = xp.tanh(projected[t] + self.seen[t] @ weights)
            self.after.append(h)
            y[t] = xp.tanh(h @ self.w_output.data.T + self.b_output.data)
        self.output = y.copy()
        return [h.copy()]

    def run_back(self, dy: Array) -> Array:
        dh = self.backend.xp.zeros_like(dy[0])
        d_output = dy * (1 - self.output * self.output)
        d_projected = self.backend.zeros(dy.shape, dy.dtype)
        for t in reversed(range(len(dy))):
            h = self.after[t]
            dh = dh + d_output[t] @ self.w_output.data
            d_projected[t] = dh * (1 - h * h)
            dh = self.cont[t] * (d_projected[t] @ self.w_hidden.data)
            if self.wants(self.w_hidden):
                self.w_hidden.diff[...] += d_projected[t].T @ self.seen[t]
            if self.wants(self.w_output):
                self.w_output.diff[...] += d_output[t].T @ h
        if self.wants(self.b_output):
            self.b_output.diff[...] += d_output.sum(axis=(0, 1))
        return d_projected
