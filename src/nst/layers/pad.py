"""Pad: adds a border to every map: zeros, the edge's own values, the mirrored inside, or the far side.

Formula   y[h, w] = x[clamp(h - pad_h), clamp(w - pad_w)] (REPLICATE), mirrored without repeating the edge
          (REFLECT; to and fro on narrow maps), x[(h - pad_h) mod H] (CIRCULAR), or 0 outside (ZERO);
          dx: every border gradient goes back to the place it was copied from
Bottoms   x (N, C, H, W)
Tops      y (N, C, H + 2 pad_h, W + 2 pad_w)
Params    pad_param { pad_h = 0  pad_w = 0  mode = REPLICATE | REFLECT | ZERO | CIRCULAR }
Gradient  exact
Errors    a bottom without 4 axes; CIRCULAR by more than the map is wide (reshape)
Source    own; crowsonkb/style-transfer-pytorch replicates at the first convolution, where zeros darken edges;
          CIRCULAR makes textures that tile
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nst.backend import Array
from nst.core import Blob, Layer, Shape
from nst.proto import PadParameter

_NUMPY_MODES: dict[int, str] = {
    PadParameter.REPLICATE: "edge",
    PadParameter.REFLECT: "reflect",
    PadParameter.ZERO: "constant",
    PadParameter.CIRCULAR: "wrap",
}


class Pad(Layer):
    type = "Pad"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.pad_param
        self.pads = (p.pad_h, p.pad_w)
        self.mode: int = p.mode

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if len(shape) != 4:
            raise self.shape_error(f"padding needs (N, C, H, W) (got {shape}, expected 4 axes)")
        sides = tuple(zip(shape[2:], self.pads, strict=True))
        if self.mode == PadParameter.CIRCULAR and any(pad > side for side, pad in sides):
            raise self.shape_error(
                f"cannot go round the map more than once (got pad {self.pads} on {shape}, expected at "
                "most its height and width)"
            )
        return [(*shape[:2], *(side + 2 * pad for side, pad in sides))]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        border = ((0, 0), (0, 0), *((pad, pad) for pad in self.pads))
        xp = self.backend.xp
        top[0].data[...] = xp.pad(bottom[0].data, border, mode=_NUMPY_MODES[self.mode])

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            rows = self._folded(top[0].diff, self.pads[0], axis=2)
            bottom[0].diff[...] = self._folded(rows, self.pads[1], axis=3)

    def _folded(self, dy: Array, pad: int, axis: int) -> Array:
        """The gradient without its border along one axis, each border line added where it came from."""
        xp = self.backend.xp
        size = dy.shape[axis] - 2 * pad
        lines = xp.moveaxis(dy, axis, 0)
        dx = lines[pad : pad + size].copy()
        if self.mode != PadParameter.ZERO:
            origin = np.pad(np.arange(size), pad, mode=_NUMPY_MODES[self.mode])  # type: ignore[call-overload]
            for place in (*range(pad), *range(pad + size, size + 2 * pad)):
                dx[int(origin[place])] += lines[place]
        return xp.moveaxis(dx, 0, axis)
