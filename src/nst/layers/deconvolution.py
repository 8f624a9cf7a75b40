"""Deconvolution: the transpose of a convolution; with stride it enlarges.

Formula   y = transpose of the convolution with w, plus b;  dx = convolution of dy with w, db = sum dy
Bottoms   one or more, each (N..., C, spatial...) of one shape; any number of spatial axes
Tops      one per bottom (N..., num_output, out...): out = s (in - 1) + d (k - 1) + 1 - 2 pad
Params    convolution_param as in Convolution. Enlarging by f with a fixed kernel: kernel_size = 2f - f % 2,
          stride = f, pad = ceil((f - 1) / 2), group = num_output = C, bias_term = false, weight_filler
          "bilinear", lr_mult 0
Blobs     w (C, num_output / group, kernel...), b (num_output,) if bias_term
Gradient  exact
Errors    as in Convolution
Source    Caffe DeconvolutionLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob
from nst.core.shapes import deconv_out
from nst.layers.base_convolution import BaseConvolution


class Deconvolution(BaseConvolution):
    type = "Deconvolution"

    def weight_channels(self) -> tuple[int, int]:
        return self.channels, self.num_output // self.geometry.group

    def out_size(self, size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
        return deconv_out(size, kernel, stride, pad, dilation)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        w = self.kernels(self.params[0].data)
        for x, y in zip(bottom, top, strict=True):
            out = self.batch(y.data)
            self.backend.conv_backward_data(self.batch(x.data), w, self.geometry, out)
            if self.has_bias:
                out += self.params[1].data.reshape(-1, *(1 for _ in out.shape[2:]))

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        for y, wanted, x in zip(top, propagate_down, bottom, strict=True):
            dy = self.batch(y.diff)
            self.add_bias_gradient(dy)
            if self.params_propagate_down[0]:
                dw = self.kernels(self.params[0].diff)
                self.backend.conv_backward_weights(dy, self.batch(x.data), self.geometry, dw)
            if wanted:
                w = self.kernels(self.params[0].data)
                self.backend.conv(dy, w, None, self.geometry, self.batch(x.diff))
