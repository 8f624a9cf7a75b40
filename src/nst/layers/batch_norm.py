"""BatchNorm: normalises every channel by the mean and variance of the batch, or by stored ones.

Formula   y = (x - m) / sqrt(v + eps).  Batch statistics (TRAIN): m, v over all but the channel axis, and
          the stored sums become  s_m = f s_m + m,  s_v = f s_v + v n/(n-1),  s_1 = f s_1 + 1;
          stored statistics (TEST): m = s_m / s_1, v = s_v / s_1 (0 if s_1 is 0)
          dx = (dy - mean dy - y * mean(dy * y)) / sqrt(v + eps), or dy / sqrt(v + eps) with stored ones
Bottoms   x (N, C, any...), or (N,) as one channel
Tops      y (same shape), may be x itself
Params    batch_norm_param { use_global_stats = (phase is TEST)  moving_average_fraction = 0.999: f
          eps = 1e-5 }. No factor or bias: a Scale layer does that
Blobs     s_m (C,), s_v (C,), s_1 (1,): written by forward, never by a solver (lr_mult is made 0)
Gradient  exact
Errors    a `param` with lr_mult not 0 (setup); changed channel count (reshape)
Source    Ioffe, Szegedy 2015 (arXiv 1502.03167); Caffe BatchNormLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import TEST, Blob, Layer, Shape


class BatchNorm(Layer):
    type = "BatchNorm"
    allows_in_place = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.batch_norm_param
        given = p.HasField("use_global_stats")
        self.uses_stored: bool = p.use_global_stats if given else self.phase == TEST
        self.fraction: float = p.moving_average_fraction
        self.eps: float = p.eps
        self.channels = _channels(bottom_shapes[0])
        self._freeze_statistics()
        for shape in ((self.channels,), (self.channels,), (1,)):
            self.add_param(shape)
        self.normalized = self.new_blob()
        """y of the last forward: layers that work in place on the top may change the top's own values."""

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if _channels(shape) != self.channels:
            raise self.shape_error(
                f"channel count changed (got bottom {shape}, expected {self.channels} channels)"
            )
        return [shape]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        mean = self._stored(0) if self.uses_stored else self._mean(x)
        self.backend.xp.subtract(x, self._spread(mean, x), out=y)
        variance = self._stored(1) if self.uses_stored else self._mean(y * y)
        if not self.uses_stored:
            self._accumulate(mean, variance, x.size // self.channels)
        self.inverse = self._spread(1 / self.backend.xp.sqrt(variance + self.eps), x)
        y *= self.inverse
        if not self.uses_stored:
            self.normalized.reshape(*bottom[0].shape)
            self.normalized.data[...] = y

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        if not self.uses_stored:
            y = self.normalized.data
            slope = self._spread(self._mean(dy * y), dy)
            mean = self._spread(self._mean(dy), dy)
            self.backend.xp.subtract(dy, mean, out=dx)  # dx may be dy: both means are taken
            dx -= y * slope
            dx *= self.inverse
        else:
            self.backend.xp.multiply(dy, self.inverse, out=dx)

    def _freeze_statistics(self) -> None:
        """Makes lr_mult of the three blobs 0, so that no solver changes them."""
        for spec in self.param.param:
            if spec.lr_mult != 0:
                raise self.net_error(
                    "Cannot configure batch normalization statistics as layer parameters. "
                    f"(got lr_mult {spec.lr_mult}, expected 0)"
                )
        while len(self.param.param) < 3:
            self.param.param.add(lr_mult=0)

    def _stored(self, index: int) -> Array:
        xp = self.backend.xp
        sums, weight = self.params[index].data, self.params[2].data
        return sums * xp.where(weight == 0, 0, 1 / xp.where(weight == 0, 1, weight))

    def _accumulate(self, mean: Array, variance: Array, values: int) -> None:
        unbiased = values / (values - 1) if values > 1 else 1.0
        sums = (mean, variance * unbiased, 1)
        for blob, new in zip(self.params, sums, strict=True):
            stored = blob.data
            stored *= self.fraction
            stored += new

    def _mean(self, array: Array) -> Array:
        """Mean per channel, (C,)."""
        axes = tuple(axis for axis in range(array.ndim) if axis != 1 or array.ndim == 1)
        return array.mean(axis=axes).reshape(-1)

    def _spread(self, per_channel: Array, like: Array) -> Array:
        return per_channel.reshape(-1, *(1 for _ in like.shape[2:]))


def _channels(shape: Shape) -> int:
    return 1 if len(shape) == 1 else shape[1]
