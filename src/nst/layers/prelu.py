"""PReLU: rectified linear unit with a learned slope for negative values.

Formula   y = max(x, 0) + a * min(x, 0);  dx = dy * (1 where x > 0, else a);  da = sum dy * min(x, 0)
Bottoms   x (N, C, any...)
Tops      y (same shape), may be x itself
Params    prelu_param { filler = constant 0.25  channel_shared = false }
Blobs     a (C,), or () if channel_shared
Gradient  exact
Errors    a bottom with less than two axes (setup), changed channel count (reshape)
Source    He et al. 2015 (arXiv 1502.01852); Caffe PReLULayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Shape
from nst.layers.neuron import Neuron
from nst.proto import FillerParameter


class PReLU(Neuron):
    type = "PReLU"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.prelu_param
        if len(bottom_shapes[0]) < 2:
            raise self.shape_error(
                f"Number of axes of bottom blob must be >=2. (got {bottom_shapes[0]})"
            )
        default = FillerParameter(type="constant", value=0.25)
        shape = () if p.channel_shared else (bottom_shapes[0][1],)
        self.add_param(shape, p.filler if p.HasField("filler") else default)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape, slopes = bottom_shapes[0], self.params[0].shape
        if len(shape) < 2 or (slopes and shape[1] != slopes[0]):
            raise self.shape_error(
                f"the number of slopes does not fit the bottom (got {shape}, expected channels "
                f"{slopes})"
            )
        return [shape]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = self.backend.xp
        x = self.remember(bottom[0], top[0])
        below = xp.minimum(x, 0)
        below *= self._slopes(x)
        xp.maximum(x, 0, out=top[0].data)
        top[0].data[...] += below

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        xp = self.backend.xp
        x, dy = self.recall(bottom[0]), top[0].diff
        if self.params_propagate_down[0]:
            kept = (1,) if self.params[0].shape else ()
            axes = tuple(axis for axis in range(x.ndim) if axis not in kept)
            self.params[0].diff[...] += (dy * xp.minimum(x, 0)).sum(axis=axes)
        if propagate_down[0]:
            xp.multiply(dy, xp.where(x > 0, 1, self._slopes(x)), out=bottom[0].diff)

    def _slopes(self, x: Array) -> Array:
        """The slopes, shaped to broadcast along the channel axis."""
        return self.params[0].data.reshape(-1, *(1 for _ in x.shape[2:]))
