"""Pure shape arithmetic: what comes out of a window, an axis number, a flattened blob."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nst.errors import ShapeError

Shape = tuple[int, ...]


def count(shape: Sequence[int], first: int = 0, last: int | None = None) -> int:
    """Number of elements in the axes first .. last - 1 (all to the end by default)."""
    return math.prod(shape[first:last])


def canonical_axis(axis: int, shape: Sequence[int], *, layer: str = "") -> int:
    """Returns axis counted from the front; negative ones count from the end, as in Caffe.

    Raises ShapeError when it is out of range.
    """
    rank = len(shape)
    if not -rank <= axis < rank:
        raise ShapeError(
            f"axis {axis} out of range for {rank}-D blob with shape {tuple(shape)} "
            f"(got {axis}, expected {-rank} to {rank - 1})",
            layer=layer,
        )
    return axis % rank


def conv_out(size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
    """Output length of a convolution along one axis; may be < 1 if the kernel does not fit."""
    return (size + 2 * pad - (dilation * (kernel - 1) + 1)) // stride + 1


def deconv_out(size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
    """Output length of a deconvolution along one axis: the inverse of `conv_out`."""
    return stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * pad


def pool_out(size: int, kernel: int, stride: int, pad: int, *, ceil: bool = True) -> int:
    """Output length of a pooling along one axis.

    Caffe rounds up, and with padding drops a last window that would start at or beyond the padded end
    (PoolingLayer::Reshape).
    """
    span = size + 2 * pad - kernel
    out = (-(-span // stride) if ceil else span // stride) + 1
    if pad and (out - 1) * stride >= size + pad:
        out -= 1
    return out


def text(shape: Sequence[int]) -> str:
    """Caffe's spelling of a shape for error texts: `2 3 6 6 (216)`."""
    return " ".join(str(size) for size in shape) + f" ({count(shape)})"
