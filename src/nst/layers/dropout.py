"""Dropout: while training, sets values to zero at random and enlarges the others.

Formula   TRAIN: y = m * x, m = 0 with probability r, else 1 / (1 - r);  dx = m * dy.  TEST: y = x, dx = dy
Bottoms   x (any shape)
Tops      y (same shape), may be x itself
Params    dropout_param { dropout_ratio = 0.5: r, 0 <= r < 1 }
Gradient  exact, for the mask of the last forward
Errors    a ratio outside [0, 1) (setup; Caffe accepts 1 and computes NaN)
Source    Caffe DropoutLayer; the mask is Caffe's bit for bit for one seed (caffe_rng_bernoulli)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nst.core import TRAIN, Blob, Shape
from nst.layers.neuron import Neuron


class Dropout(Neuron):
    type = "Dropout"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        ratio = self.param.dropout_param.dropout_ratio
        if not 0 <= ratio < 1:
            raise self.net_error(
                f"dropout_ratio must be a probability below 1 (got {ratio}, expected [0, 1))"
            )
        self.drops = self.phase == TRAIN and ratio > 0
        # float32 like Caffe's threshold_ and scale_, or the mask would differ in rare bits
        self.keep_probability = float(np.float32(1) - np.float32(ratio))
        self.scale = float(np.float32(1) / np.float32(self.keep_probability))
        self.mask = self.backend.zeros((0,), bool)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        if not self.drops:
            y[...] = x
            return
        keep = self.context.rng.keep_mask(self.keep_probability, x.size).reshape(x.shape)
        self.mask = self.backend.asarray(keep, bool)
        self.backend.xp.multiply(x, self.mask, out=y)
        y *= self.scale

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        dx = bottom[0].diff
        if not self.drops:
            dx[...] = top[0].diff
            return
        self.backend.xp.multiply(top[0].diff, self.mask, out=dx)
        dx *= self.scale
