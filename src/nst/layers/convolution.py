"""Convolution: cross-correlation of the bottom with learnable kernels, plus a bias per output.

Formula   y[n,o] = sum_c w[o,c] * x[n,c] + b[o]  over the window;  dx, dw: its transposes;  db = sum dy
Bottoms   one or more, each (N, C, spatial...): same C and spatial extent as the first
Tops      one per bottom (N, num_output, out...): out = floor((in + 2 pad - d (k - 1) - 1) / s) + 1
Params    num_output; kernel_size | kernel_h, kernel_w; stride = 1; pad = 0; dilation = 1; group = 1;
          bias_term = true; axis = 1 (channels); weight_filler, bias_filler = constant 0. `engine` and
          `force_nd_im2col` name code paths of Caffe and change nothing here
Blobs     w (num_output, C / group, kernel...), b (num_output,) if bias_term
Gradient  exact
Errors    kernel missing or given twice, zero sizes, group that does not divide (setup); changed channel
          count, kernel larger than the padded bottom (reshape)
Source    Caffe ConvolutionLayer, BaseConvolutionLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Arity, Blob, Layer, Shape
from nst.core.shapes import canonical_axis, conv_out
from nst.layers.conv_params import read_geometry


class Convolution(Layer):
    type = "Convolution"
    bottoms = Arity.at_least(1)
    tops = Arity.at_least(1)
    same_number = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.convolution_param
        shape = bottom_shapes[0]
        self.axis = canonical_axis(p.axis, shape, layer=self.name)
        self.channels = shape[self.axis]
        self.num_output: int = p.num_output
        self.geometry = read_geometry(p, len(shape) - self.axis - 1, self.name)
        self._check_channels()
        weight = (self.num_output, self.channels // self.geometry.group, *self.geometry.kernel)
        self.add_param(weight, p.weight_filler)
        if p.bias_term:
            self.add_param((self.num_output,), p.bias_filler)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [self._top_shape(shape, bottom_shapes[0]) for shape in bottom_shapes]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        w = self.params[0].data
        b = self.params[1].data if len(self.params) > 1 else None
        for x, y in zip(bottom, top, strict=True):
            self.backend.conv(self._batch(x.data), w, b, self.geometry, self._batch(y.data))

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        for y, wanted, x in zip(top, propagate_down, bottom, strict=True):
            dy = self._batch(y.diff)
            if len(self.params) > 1 and self.params_propagate_down[1]:
                positions = tuple(axis for axis in range(dy.ndim) if axis != 1)
                self.params[1].diff[...] += dy.sum(axis=positions)
            if self.params_propagate_down[0]:
                self.backend.conv_backward_weights(
                    self._batch(x.data), dy, self.geometry, self.params[0].diff
                )
            if wanted:
                self.backend.conv_backward_data(
                    dy, self.params[0].data, self.geometry, self._batch(x.diff)
                )

    def _batch(self, array: Array) -> Array:
        """Folds everything before the channel axis into one batch axis: (N, C, spatial...)."""
        return array.reshape(-1, *array.shape[self.axis :])

    def _top_shape(self, shape: Shape, first: Shape) -> Shape:
        if len(shape) <= self.axis or shape[self.axis] != self.channels:
            raise self.shape_error(
                "Input size incompatible with convolution kernel. "
                f"(got bottom {shape}, expected {self.channels} channels on axis {self.axis})"
            )
        if shape != first:
            raise self.shape_error(
                f"all bottoms must have the same shape (got {shape}, expected {first})"
            )
        g = self.geometry
        out = tuple(
            conv_out(*sizes)
            for sizes in zip(
                shape[self.axis + 1 :], g.kernel, g.stride, g.pad, g.dilation, strict=True
            )
        )
        if any(size < 1 for size in out):
            raise self.shape_error(
                f"the kernel does not fit into the padded bottom (got bottom {shape} with kernel "
                f"{g.kernel}, pad {g.pad}, dilation {g.dilation}, which would give {out})"
            )
        return (*shape[: self.axis], self.num_output, *out)

    def _check_channels(self) -> None:
        group = self.geometry.group
        if self.num_output < 1:
            raise self.net_error("num_output must be set (got 0, expected at least 1)")
        if group < 1 or self.channels % group:
            raise self.shape_error(
                f"the number of input channels should be a multiple of group "
                f"(got {self.channels} channels and group {group})"
            )
        if self.num_output % group:
            raise self.net_error(
                "Number of output should be multiples of group. "
                f"(got num_output {self.num_output} and group {group})"
            )
