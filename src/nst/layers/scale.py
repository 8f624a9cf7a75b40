"""Scale: multiplies by a blob, repeated along the axes that it lacks, and may add a bias.

Formula   y = a * x + b;  dx = a * dy, da = x * dy and db = dy, summed over the axes that a and b do not have
Bottoms   x (any shape); optional a: shape of x from `axis` on, as many axes as it has (none: a scalar)
Tops      y (like x), may be x itself
Params    scale_param { axis = 1  num_axes = 1 (-1: to the last; 0: a scalar)  filler = constant 1
          bias_term = false  bias_filler = constant 0 }; num_axes and filler only without a second bottom
Blobs     a (x.shape[axis : axis + num_axes]) unless there is a second bottom; b like a if bias_term
Gradient  exact
Errors    axis out of range (setup); a does not match x (reshape)
Source    Caffe ScaleLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Arity, Blob, Shape
from nst.layers.broadcast import BroadcastLayer
from nst.proto import FillerParameter


class Scale(BroadcastLayer):
    type = "Scale"
    bottoms = Arity.between(1, 2)
    allows_in_place = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.scale_param
        self.read_axis(p.axis, bottom_shapes)
        self.adds_bias: bool = p.bias_term
        if len(bottom_shapes) == 1:
            shape = self.learned_shape(p.num_axes, bottom_shapes[0])
            default = FillerParameter(type="constant", value=1)
            self.add_param(shape, p.filler if p.HasField("filler") else default)
        else:
            shape = bottom_shapes[1]
        if self.adds_bias:
            self.add_param(shape, p.bias_filler)
        self.input_copy = self.new_blob()

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        small = bottom_shapes[1] if len(bottom_shapes) > 1 else self.params[0].shape
        self.check_covered(small, bottom_shapes[0])
        return [bottom_shapes[0]]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        if self._is_in_place(top, bottom) and self._factor_needs_gradient(bottom):
            self.input_copy.reshape(*bottom[0].shape)
            self.input_copy.data[...] = x
        self.backend.xp.multiply(x, self.spread(self._factor(bottom).data, x), out=y)
        if self.adds_bias:
            y += self.spread(self.params[-1].data, y)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        dy, factor = top[0].diff, self._factor(bottom)
        if self.adds_bias and self.params_propagate_down[-1]:
            self.params[-1].diff[...] += self.sum_to(self.params[-1].shape, dy)
        if len(bottom) == 1 and self.params_propagate_down[0]:
            factor.diff[...] += self._factor_gradient(top, bottom, factor.shape)
        if len(bottom) > 1 and propagate_down[1]:
            factor.diff[...] = self._factor_gradient(top, bottom, factor.shape)
        if propagate_down[0]:
            self.backend.xp.multiply(dy, self.spread(factor.data, dy), out=bottom[0].diff)

    def _factor(self, bottom: Sequence[Blob]) -> Blob:
        return bottom[1] if len(bottom) > 1 else self.params[0]

    def _factor_needs_gradient(self, bottom: Sequence[Blob]) -> bool:
        return len(bottom) > 1 or self.params_propagate_down[0]

    def _factor_gradient(self, top: Sequence[Blob], bottom: Sequence[Blob], shape: Shape) -> Array:
        x = self.input_copy if self._is_in_place(top, bottom) else bottom[0]
        return self.sum_to(shape, top[0].diff * x.data)

    def _is_in_place(self, top: Sequence[Blob], bottom: Sequence[Blob]) -> bool:
        return top[0].data_memory is bottom[0].data_memory
