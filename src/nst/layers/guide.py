"""Guide: which places of feature maps count, and how much, as a mask says; what Gram and Moments share."""

from __future__ import annotations

from nst.backend import Array
from nst.core import Layer, Shape


class Guide:
    """Weighs the columns of F (M, C, K) by the roots of a mask m (1 or M, K), and leaves out those of 0.

    With `normalized` roots r = sqrt(m / sum m), a product of weighed columns is a mean over the region:
    sum_k r_k F_k r_k F_k^T. `totals` (1 or M, 1, 1) are the sums of the mask.
    """

    def __init__(self, layer: Layer, *, normalized: bool) -> None:
        self.layer, self.normalized = layer, normalized
        self.weighed = layer.new_blob()
        """The columns that count, times their roots: (M, C, K'), K' <= K."""
        self.roots: Array = None
        self.totals: Array = None
        self._places: Array = None
        self._columns: Array = None
        self._all_roots: Array = None
        self._mask: Array = None

    def check(self, features: Shape, mask: Shape, axis: int) -> None:
        """Raises ShapeError unless there is one weight per place, for each item or for all of them."""
        places, items = features[axis:], features[: axis - 1]
        shared = (1,) * len(items)
        if mask not in ((*items, 1, *places), (*shared, 1, *places)):
            raise self.layer.shape_error(
                f"the mask must have one weight per place (got {mask}, expected "
                f"{(*shared, 1, *places)})"
            )

    def weigh(self, x: Array, mask: Array) -> Array:
        """The weighed columns of x (M, C, K)."""
        self._read(mask.reshape(-1, x.shape[2]))
        self.weighed.reshape(*x.shape[:2], self.roots.shape[2])
        xp = self.layer.backend.xp
        columns = x if self._places is None else xp.take(x, self._places, axis=2)
        return xp.multiply(columns, self.roots, out=self.weighed.data)

    def scatter(self, gradient: Array, dx: Array) -> None:
        """From the gradient of the weighed columns to that of x; places of weight 0 get 0."""
        xp = self.layer.backend.xp
        if self._places is None:
            xp.multiply(gradient, self.roots, out=dx)
        else:  # takes some column for each of those places too, quicker than going round them
            xp.multiply(xp.take(gradient, self._columns, axis=2), self._all_roots, out=dx)

    def _read(self, mask: Array) -> None:
        """Roots and places of a mask (1 or M, K), unless it is that of the last forward."""
        xp, kept = self.layer.backend.xp, self._mask
        if kept is not None and kept.shape == mask.shape and bool((kept == mask).all()):
            return
        if not bool((mask >= 0).all()):
            raise self.layer.net_error(f"a mask has no values below 0 (got {float(mask.min())})")
        self._mask = mask.copy()
        counts = (mask > 0).any(axis=0)
        self.totals = mask.sum(axis=1)[:, None, None]
        weights = mask[:, None, :]
        if self.normalized:
            weights = weights / (self.totals + (self.totals == 0))  # nothing weighs nothing
        self.roots = self._all_roots = xp.sqrt(weights)
        self._places = None
        if bool(counts.any()) and not bool(counts.all()):
            self._places = xp.flatnonzero(counts)
            self.roots = xp.take(self._all_roots, self._places, axis=2)
            self._columns = (xp.cumsum(counts) - 1).clip(0, None)
