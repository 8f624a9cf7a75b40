"""Embed: looks up a learned vector for every integer.

Formula   y[i] = w[x[i]] + b;  dw[x[i]] += dy[i], db = sum of dy over all i
Bottoms   x (any shape): integers in [0, input_dim), as floats
Tops      y (x.shape, num_output)
Params    embed_param { num_output  input_dim  bias_term = true  weight_filler, bias_filler = constant 0 }
Blobs     w (input_dim, num_output); b (num_output,) if bias_term
Gradient  exact for w and b; the integers have none
Errors    num_output or input_dim missing (setup); an integer outside the table (forward)
Source    Caffe EmbedLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Layer, Shape
from nst.layers.indices import read_indices


class Embed(Layer):
    type = "Embed"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.embed_param
        for name in ("num_output", "input_dim"):
            if getattr(p, name) < 1:
                raise self.net_error(
                    f"EmbedLayer {name} must be positive. (got {getattr(p, name)})"
                )
        self.num_output: int = p.num_output
        self.input_dim: int = p.input_dim
        self.add_param((self.input_dim, self.num_output), p.weight_filler)
        if p.bias_term:
            self.add_param((self.num_output,), p.bias_filler)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [(*bottom_shapes[0], self.num_output)]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.rows = read_indices(bottom[0], self.input_dim, layer=self.name).reshape(-1)
        y = top[0].data.reshape(-1, self.num_output)
        y[...] = self.params[0].data[self.rows]
        if len(self.params) > 1:
            y += self.params[1].data

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            raise self.net_error("Can't backpropagate to EmbedLayer input. It holds integers")
        dy = top[0].diff.reshape(-1, self.num_output)
        if self.params_propagate_down[0]:
            self.backend.xp.add.at(self.params[0].diff, self.rows, dy)
        if len(self.params) > 1 and self.params_propagate_down[1]:
            self.params[1].diff[...] += dy.sum(axis=0)

    def allows_force_backward(self, bottom_index: int) -> bool:
        return False
