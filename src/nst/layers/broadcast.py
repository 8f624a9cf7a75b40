"""Broadcasting of a small blob over some axes of a large one; shared by Scale and Bias.

x.shape = before + covered + after,   covered = shape of the small blob, from `axis` on
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Layer, Shape
from nst.core.shapes import canonical_axis


class BroadcastLayer(Layer):
    """Base of Scale and Bias: a second bottom or a learned blob, spread over the first bottom."""

    axis: int

    def read_axis(self, axis: int, bottom_shapes: Sequence[Shape]) -> None:
        """Sets `axis`; a second bottom without axes covers everything, whatever `axis` says."""
        is_scalar = len(bottom_shapes) > 1 and bottom_shapes[1] == ()
        self.axis = 0 if is_scalar else canonical_axis(axis, bottom_shapes[0], layer=self.name)

    def learned_shape(self, num_axes: int, shape: Shape) -> Shape:
        """Shape of a learned blob: `num_axes` axes of the bottom from `axis` on, -1 for all."""
        if num_axes < -1:
            raise self.net_error(
                "num_axes must be non-negative, or -1 to extend to the end of bottom[0] "
                f"(got {num_axes})"
            )
        end = len(shape) if num_axes == -1 else self.axis + num_axes
        if end > len(shape):
            raise self.shape_error(
                f"blob extends past bottom[0]'s shape when applied starting with bottom[0] axis "
                f"{self.axis} (got num_axes {num_axes}, bottom {shape})"
            )
        return shape[self.axis : end]

    def check_covered(self, small: Shape, large: Shape) -> None:
        """Raises ShapeError unless `small` is what `large` has from `axis` on."""
        if large[self.axis : self.axis + len(small)] != small:
            raise self.shape_error(
                f"dimension mismatch: the blob must match bottom[0] from axis {self.axis} on "
                f"(got {small} for bottom {large})"
            )

    def spread(self, small: Array, large: Array) -> Array:
        """`small` with axes of size 1 appended so that it broadcasts against `large`."""
        after = large.ndim - self.axis - small.ndim
        return small.reshape(*small.shape, *(1,) * after)

    def sum_to(self, small_shape: Shape, large: Array) -> Array:
        """`large` summed over the axes that the small blob does not cover."""
        end = self.axis + len(small_shape)
        axes = (*range(self.axis), *range(end, large.ndim))
        return large.sum(axis=axes).reshape(small_shape)
