"""MomentsLoss: distance of the means and standard deviations of channels ("BN statistics").

Formula   m, q = y[:, 0], y[:, 1]: mean and mean square of each channel;  s = sqrt(max(q - m^2, 0) + eps)
          L = 1/N sum_n |m - m*|^2 + |s - s*|^2, divided by sum q* per item if relative (* = target)
          dm = 2 (m - m*) - 2 (s - s*) m / s,  dq = (s - s*) / s
          eps = epsilon * mean variance of the target
Bottoms   y, y* (N, C, 2): raw moments, as Moments { second: DIAGONAL } makes them
Tops      L (scalar)
Params    moments_loss_param { epsilon = 1e-4  relative = false }
Gradient  exact with respect to y where q > m^2, as it is of any real features; the target receives none
Errors    epsilon negative or not finite (setup); shapes that differ or are not (N, C, 2) (reshape)
Source    Li, Wang, Liu, Hou 2017 (arXiv 1701.01036) section 4.2, where L is divided by C
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob, Shape
from nst.layers.moment_distance import MomentDistance


class MomentsLoss(MomentDistance):
    type = "MomentsLoss"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.read_settings(self.param.moments_loss_param)
        self.gradient = self.new_blob()

    def width(self, channels: int) -> int:
        return 2

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = self.backend.xp
        y, target = (blob.data.astype("float64") for blob in bottom)
        eps = self.epsilon * self.variance(target).mean(axis=1, keepdims=True)
        scale = self.scale(target[:, :, 1].sum(axis=1))[:, None]
        s, s_target = (xp.sqrt(self.variance(each) + eps) for each in (y, target))
        s += s == 0  # constant channels without epsilon: s = s* = 0 costs nothing either way
        s_target += s_target == 0
        dm, ds = y[:, :, 0] - target[:, :, 0], s - s_target
        top[0].data[...] = (scale * (dm * dm + ds * ds)).sum() / len(y)
        self.gradient.reshape(*y.shape)
        self.gradient.data[:, :, 0] = 2 * scale * (dm - ds * y[:, :, 0] / s)
        self.gradient.data[:, :, 1] = scale * ds / s
