"""Mask: feature maps times one map of weights.

Formula   y = x * m, the same m for every channel;  dx = dy * m,  dm = sum over channels of dy * x
Bottoms   x (N, C, H, W); m (N or 1, 1, H, W): the weights, usually 0 to 1
Tops      y (like x)
Gradient  exact, for the mask too
Errors    a mask of another height or width, or with channels (reshape)
Source    own: what Gatys et al. 2017 (arXiv 1611.07865) call a guide; Caffe's Scale does not broadcast so
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Layer, Shape


class Mask(Layer):
    type = "Mask"
    bottoms = Arity.exactly(2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        pass  # no parameters

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        x, mask = bottom_shapes
        if len(x) != 4 or mask not in ((1, 1, *x[2:]), (x[0], 1, *x[2:])):
            raise self.shape_error(
                f"the mask must have one weight per place (got {mask} for maps {x}, expected "
                f"{(1, 1, *x[2:])})"
            )
        return [x]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.backend.xp.multiply(bottom[0].data, bottom[1].data, out=top[0].data)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            self.backend.xp.multiply(top[0].diff, bottom[1].data, out=bottom[0].diff)
        if propagate_down[1]:
            per_item = (top[0].diff * bottom[0].data).sum(axis=1, keepdims=True)
            shared = bottom[1].shape[0] < per_item.shape[0]
            bottom[1].diff[...] = per_item.sum(axis=0, keepdims=True) if shared else per_item
