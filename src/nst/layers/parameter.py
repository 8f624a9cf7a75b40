"""Parameter: a learnable blob as a layer of its own; its top *is* the blob.

Formula   y = w;  the gradient of y is the gradient of w
Tops      y (shape): shares data and diff with the parameter blob, so exactly one consumer writes its diff
Params    parameter_param { shape  filler = none (zeros) }
Blobs     w (shape)
Gradient  exact: nothing to do, the memory is shared. A consumer overwrites the diff
Source    Caffe ParameterLayer; MyCaffe's `input1`, the picture that is painted
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Layer, Shape


class Parameter(Layer):
    type = "Parameter"
    bottoms = Arity.exactly(0)
    is_source = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.parameter_param
        self.add_param(tuple(p.shape.dim), p.filler if p.HasField("filler") else None)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [self.params[0].shape]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        # every time: a solver's test net may have been given new memory
        top[0].share_data(self.params[0])
        top[0].share_diff(self.params[0])

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        return None
