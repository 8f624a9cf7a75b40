"""BaseConvolution: parameters, shapes and bias that Convolution and Deconvolution have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from nst.backend import Array
from nst.core import Arity, Layer, Shape
from nst.core.shapes import canonical_axis
from nst.layers.conv_params import read_geometry


class BaseConvolution(Layer):
    """Any number of bottoms of one shape (batch..., channels, spatial...), one top each."""

    bottoms = Arity.at_least(1)
    tops = Arity.at_least(1)
    same_number = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.convolution_param
        shape = bottom_shapes[0]
        self.axis = canonical_axis(p.axis, shape, layer=self.name)
        self.channels = shape[self.axis]
        self.num_output: int = p.num_output
        self.spatial_axes = len(shape) - self.axis - 1
        self.geometry = read_geometry(p, self.spatial_axes, self.name)
        self._check_channels()
        window = self.geometry.kernel[: self.spatial_axes]
        self.add_param((*self.weight_channels(), *window), p.weight_filler)
        if p.bias_term:
            self.add_param((self.num_output,), p.bias_filler)

    @abstractmethod
    def weight_channels(self) -> tuple[int, int]:
        """The first two extents of the weights."""

    @abstractmethod
    def out_size(self, size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
        """Extent of the top along one spatial axis."""

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [self._top_shape(shape, bottom_shapes[0]) for shape in bottom_shapes]

    @property
    def has_bias(self) -> bool:
        return len(self.params) > 1

    def kernels(self, weights: Array) -> Array:
        """The weights with at least one spatial axis, as the backend wants them."""
        return weights if self.spatial_axes else weights[..., None]

    def batch(self, array: Array) -> Array:
        """Folds everything before the channel axis into one batch axis: (N, C, spatial...)."""
        tail = () if self.spatial_axes else (1,)
        return array.reshape(-1, *array.shape[self.axis :], *tail)

    def add_bias_gradient(self, dy: Array) -> None:
        """db += sum of dy (N, C, spatial...) over all but the channels, if it is wanted."""
        if self.has_bias and self.params_propagate_down[1]:
            positions = tuple(axis for axis in range(dy.ndim) if axis != 1)
            self.params[1].diff[...] += dy.sum(axis=positions)

    def _top_shape(self, shape: Shape, first: Shape) -> Shape:
        if len(shape) <= self.axis or shape[self.axis] != self.channels:
            raise self.shape_error(
                "Input size incompatible with convolution kernel. "
                f"(got bottom {shape}, expected {self.channels} channels on axis {self.axis})"
            )
        if shape != first or len(shape) != self.axis + 1 + self.spatial_axes:
            raise self.shape_error(
                "All inputs must have the same shape, and the axes they had at set-up. "
                f"(got {shape}, expected like {first} with {self.spatial_axes} spatial axes)"
            )
        g = self.geometry
        windows = zip(g.kernel, g.stride, g.pad, g.dilation, strict=True)
        spatial = shape[self.axis + 1 :]
        out = tuple(self.out_size(size, *w) for size, w in zip(spatial, windows, strict=False))
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
                "the bottom's channels must be a multiple of group "
                f"(got {self.channels} channels and group {group})"
            )
        if self.num_output % group:
            raise self.net_error(
                "Number of output should be multiples of group. "
                f"(got num_output {self.num_output} and group {group})"
            )
