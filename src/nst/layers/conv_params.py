"""Reads `convolution_param` into a ConvGeometry; shared by Convolution, Deconvolution and Im2col."""

from __future__ import annotations

from nst.backend import ConvGeometry
from nst.errors import NetError
from nst.proto import ConvolutionParameter


def read_geometry(param: ConvolutionParameter, axes: int, layer: str) -> ConvGeometry:
    """Window of `axes` spatial axes; raises NetError in Caffe's words for a contradictory one.

    Without spatial axes it is a 1-wide window over one axis of extent 1: a plain product of channels.
    """
    if axes == 0:
        return ConvGeometry((1,), (1,), (0,), (1,), param.group)
    kernel = _per_axis(param, "kernel", axes, layer, default=None)
    stride = _per_axis(param, "stride", axes, layer, default=1)
    pad = _per_axis(param, "pad", axes, layer, default=0)
    dilation = _repeated(list(param.dilation), "dilation", axes, layer, default=1)
    for field, values in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        if any(value < 1 for value in values):
            raise NetError(f"{field} must be positive (got {values}, expected > 0)", layer=layer)
    return ConvGeometry(kernel, stride, pad, dilation, param.group)


def _per_axis(
    param: ConvolutionParameter, noun: str, axes: int, layer: str, *, default: int | None
) -> tuple[int, ...]:
    """Either <noun>_h and <noun>_w, or the repeated field; never both."""
    field = "kernel_size" if noun == "kernel" else noun
    repeated = list(getattr(param, field))
    if param.HasField(f"{noun}_h") or param.HasField(f"{noun}_w"):
        if axes != 2:
            raise NetError(
                f"{noun}_h & {noun}_w can only be used for 2D convolution. (got {axes} axes)",
                layer=layer,
            )
        if repeated:
            raise NetError(
                f"Either {field} or {noun}_h/w should be specified; not both. (got {repeated})",
                layer=layer,
            )
        return getattr(param, f"{noun}_h"), getattr(param, f"{noun}_w")
    return _repeated(repeated, field, axes, layer, default=default)


def _repeated(
    values: list[int], field: str, axes: int, layer: str, *, default: int | None
) -> tuple[int, ...]:
    """One value for all axes, one per axis, or the default."""
    if not values and default is not None:
        return (default,) * axes
    if len(values) == 1:
        return (values[0],) * axes
    if len(values) != axes:
        raise NetError(
            f"{field} must be specified once, or once per spatial dimension "
            f"({field} specified {len(values)} times; {axes} spatial dims).",
            layer=layer,
        )
    return tuple(values)
