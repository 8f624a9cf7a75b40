"""Box bounds of learnable parameters: checking them, and moving values into them."""

from __future__ import annotations

from collections.abc import Sequence

from nst.core.blob import Blob
from nst.core.shapes import Shape
from nst.errors import UsageError
from nst.solvers.contract import Bounds


def check_bounds(
    bounds: Sequence[Bounds | None] | None, params: Sequence[Blob]
) -> list[Bounds | None]:
    """One entry per learnable parameter, limits as arrays of its backend.

    Raises UsageError for a wrong number of entries, limits that do not broadcast to the blob's shape,
    or a lower limit above its upper one.
    """
    if bounds is None:
        return [None] * len(params)
    if len(bounds) != len(params):
        raise UsageError(
            "bounds: one entry per learnable parameter is needed "
            f"(got {len(bounds)}, expected {len(params)})"
        )
    return [_checked(pair, blob) for pair, blob in zip(bounds, params, strict=True)]


def _checked(pair: Bounds | None, blob: Blob) -> Bounds | None:
    if pair is None:
        return None
    # A backend's own arrays stay where they are; anything else comes through numpy.
    lower, upper = (
        limit if limit is None else blob.backend.asarray(limit, blob.dtype) for limit in pair
    )
    for limit in (lower, upper):
        if limit is not None and not _broadcasts(limit.shape, blob.shape):
            raise UsageError(
                f"bounds: limits do not fit parameter '{blob.name}' "
                f"(got shape {limit.shape}, expected one that broadcasts to {blob.shape})"
            )
    if lower is not None and upper is not None and bool((lower > upper).any()):
        raise UsageError(f"bounds: a lower limit of parameter '{blob.name}' is above its upper one")
    return lower, upper


def _broadcasts(shape: Shape, target: Shape) -> bool:
    aligned = zip(reversed(shape), reversed(target), strict=False)
    return len(shape) <= len(target) and all(a in (1, b) for a, b in aligned)


def project(blob: Blob, limits: Bounds | None) -> None:
    """Moves the values of a blob into its limits, in place."""
    if limits is None:
        return
    xp, data = blob.backend.xp, blob.data
    lower, upper = limits
    if lower is not None:
        xp.maximum(data, lower, out=data)
    if upper is not None:
        xp.minimum(data, upper, out=data)
