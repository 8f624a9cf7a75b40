"""Convolution: cross-correlation of the bottom with learnable kernels, plus a bias per output.

Formula   y[n,o] = sum_c w[o,c] * x[n,c] + b[o]  over the window;  dx, dw: its transposes;  db = sum dy
Bottoms   one or more, each (N..., C, spatial...) of one shape; any number of spatial axes
Tops      one per bottom (N..., num_output, out...): out = floor((in + 2 pad - d (k - 1) - 1) / s) + 1
Params    convolution_param { num_output  kernel_size | kernel_h, kernel_w  stride = 1  pad = 0
          dilation = 1: d  group = 1  bias_term = true  axis = 1 (channels)  weight_filler, bias_filler =
          constant 0 }. `engine` and `force_nd_im2col` name code paths of Caffe and change nothing here
Blobs     w (num_output, C / group, kernel...), b (num_output,) if bias_term
Gradient  exact
Errors    kernel missing or given twice, zero sizes, group that does not divide (setup); changed channel
          count, kernel larger than the padded bottom (reshape)
Source    Caffe ConvolutionLayer, BaseConvolutionLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob
from nst.core.shapes import conv_out
from nst.layers.base_convolution import BaseConvolution


class Convolution(BaseConvolution):
    type = "Convolution"

    def weight_channels(self) -> tuple[int, int]:
        return self.num_output, self.channels // self.geometry.group

    def out_size(self, size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
        return conv_out(size, kernel, stride, pad, dilation)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        w = self.kernels(self.params[0].data)
        b = self.params[1].data if self.has_bias else None
        for x, y in zip(bottom, top, strict=True):
            self.backend.conv(self.batch(x.data), w, b, self.geometry, self.batch(y.data))

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        for y, wanted, x in zip(top, propagate_down, bottom, strict=True):
            dy = self.batch(y.diff)
            self.add_bias_gradient(dy)
            if self.params_propagate_down[0]:
                dw = self.kernels(self.params[0].diff)
                self.backend.conv_backward_weights(self.batch(x.data), dy, self.geometry, dw)
            if wanted:
                w = self.kernels(self.params[0].data)
                self.backend.conv_backward_data(dy, w, self.geometry, self.batch(x.diff))
