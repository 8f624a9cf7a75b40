"""SPP: spatial pyramid pooling, a fixed number of values for any picture size.

Formula   level i pools into 2^i x 2^i bins; y = all levels, flattened and joined, coarsest first
Bottoms   x (N, C, H, W)
Tops      y (N, C * (1 + 4 + 16 + ... ))
Params    spp_param { pyramid_height: levels  pool = MAX | AVE }; `engine` changes nothing here. STOCHASTIC is
          refused (Caffe has it on the GPU only). A bin's kernel is ceil(H / 2^i), padded to fit
Gradient  exact
Errors    pyramid_height missing (setup); not 4-D, a picture too small for the finest level (reshape)
Source    He et al. 2014 (arXiv 1406.4729); Caffe SPPLayer
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nst.backend import Array, PoolGeometry
from nst.core import Blob, Layer, Shape
from nst.core.shapes import pool_out
from nst.proto import SPPParameter


class SPP(Layer):
    type = "SPP"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.spp_param
        if p.pyramid_height < 1:
            raise self.net_error("pyramid_height must be set (got 0, expected at least 1)")
        if p.pool == SPPParameter.STOCHASTIC:
            raise self.net_error("STOCHASTIC pooling is not available (expected MAX or AVE)")
        self.levels: int = p.pyramid_height
        self.takes_max = p.pool == SPPParameter.MAX
        self.pooled = [self.new_blob() for _ in range(self.levels)]
        self.picture = self.new_blob()
        self.argmax: list[Array] = []

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if len(shape) != 4:
            raise self.shape_error(
                "Input must have 4 axes, corresponding to (num, channels, height, width) "
                f"(got {shape})"
            )
        bins = 0
        for level in range(self.levels):
            rows, columns = self._out(shape, level)
            bins += rows * columns
        return [(shape[0], shape[1] * bins)]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, y = bottom[0].shape, top[0].data
        self.argmax = []
        for level, part in self._parts(y, shape):
            blob, geometry = self.pooled[level], _geometry(shape, level)
            blob.reshape(*shape[:2], *self._out(shape, level))
            if self.takes_max:
                self.argmax.append(self.backend.zeros(blob.shape, "int32"))
                self.backend.max_pool(bottom[0].data, geometry, blob.data, self.argmax[-1])
            else:
                self.backend.avg_pool(bottom[0].data, geometry, blob.data)
            part[...] = blob.data.reshape(part.shape)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if not propagate_down[0]:
            return
        shape, dx = bottom[0].shape, bottom[0].diff
        dx[...] = 0
        self.picture.reshape(*shape)
        for level, part in self._parts(top[0].diff, shape):
            blob, geometry = self.pooled[level], _geometry(shape, level)
            blob.diff[...] = part.reshape(blob.shape)
            into = self.picture.diff
            if self.takes_max:
                self.backend.max_pool_backward(blob.diff, self.argmax[level], geometry, into)
            else:
                self.backend.avg_pool_backward(blob.diff, geometry, into)
            dx += into

    def _out(self, shape: Shape, level: int) -> tuple[int, int]:
        """Rows and columns of bins of one level."""
        g = _geometry(shape, level)
        if any(pad >= kernel for pad, kernel in zip(g.pad, g.kernel, strict=True)):
            raise self.shape_error(
                f"the picture is too small for pyramid_height {self.levels} (got {shape}, whose "
                f"level {level} would have kernel {g.kernel} and pad {g.pad}). Use a lower pyramid"
            )
        rows, columns = (
            pool_out(*sizes) for sizes in zip(shape[2:], g.kernel, g.stride, g.pad, strict=True)
        )
        return rows, columns

    def _parts(self, joined: Array, shape: Shape) -> Iterator[tuple[int, Array]]:
        """Yields (level, its columns of the top)."""
        start = 0
        for level in range(self.levels):
            rows, columns = self._out(shape, level)
            end = start + shape[1] * rows * columns
            yield level, joined[:, start:end]
            start = end


def _geometry(shape: Shape, level: int) -> PoolGeometry:
    """Bins of one level: kernel and stride ceil(size / bins), padding that makes up the difference."""
    bins = 2**level
    kernel_h, kernel_w = (-(-size // bins) for size in shape[2:])
    pad_h, pad_w = (
        (kernel * bins - size + 1) // 2
        for kernel, size in zip((kernel_h, kernel_w), shape[2:], strict=True)
    )
    return PoolGeometry((kernel_h, kernel_w), (kernel_h, kernel_w), (pad_h, pad_w))
