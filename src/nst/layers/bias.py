"""Bias: adds a blob, repeated along the axes that it lacks.

Formula   y = x + b;  dx = dy, db = dy summed over the axes that b does not have
Bottoms   x (any shape); optional b: shape of x from `axis` on, as many axes as it has (none: a scalar)
Tops      y (like x), may be x itself
Params    bias_param { axis = 1  num_axes = 1 (-1: to the last; 0: a scalar)  filler = constant 0 };
          num_axes and filler only without a second bottom
Blobs     b (x.shape[axis : axis + num_axes]), unless there is a second bottom
Gradient  exact
Errors    axis out of range (setup); b does not match x (reshape)
Source    Caffe BiasLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Shape
from nst.layers.broadcast import BroadcastLayer


class Bias(BroadcastLayer):
    type = "Bias"
    bottoms = Arity.between(1, 2)
    allows_in_place = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.bias_param
        self.read_axis(p.axis, bottom_shapes)
        if len(bottom_shapes) == 1:
            self.add_param(self.learned_shape(p.num_axes, bottom_shapes[0]), p.filler)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        small = bottom_shapes[1] if len(bottom_shapes) > 1 else self.params[0].shape
        self.check_covered(small, bottom_shapes[0])
        return [bottom_shapes[0]]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        b = self._bias(bottom).data
        self.backend.xp.add(x, self.spread(b, x), out=top[0].data)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        dy = top[0].diff
        b = self._bias(bottom)
        if len(bottom) == 1 and self.params_propagate_down[0]:
            b.diff[...] += self.sum_to(b.shape, dy)
        if len(bottom) > 1 and propagate_down[1]:
            b.diff[...] = self.sum_to(b.shape, dy)
        if propagate_down[0]:
            bottom[0].diff[...] = dy

    def _bias(self, bottom: Sequence[Blob]) -> Blob:
        return bottom[1] if len(bottom) > 1 else self.params[0]
