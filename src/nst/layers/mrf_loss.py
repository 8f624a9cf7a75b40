"""MRFLoss: every patch of the features against the patch of the style that is most like it.

Formula   p_i, s_j: patches of k x k places, all channels, of F and T;  j(i) = argmax_j <p_i, s_j> / |s_j|
          L = 1/N sum_n 1/I sum_i |p_i - s_j(i)|^2;  dF: every 2/I (p_i - s_j(i)) added where p_i stands;
          divided by the mean of |s_j|^2 per item if relative
Bottoms   F (N, C, H, W), the target T (N, C, H', W'); height and width may differ
Tops      L (scalar)
Params    mrf_loss_param { patch = 3  stride = 1  relative = false }: side of a patch, step between those of F
Gradient  exact, except where two patches of the style are equally like: there it is that of the first
Errors    patch or stride 0 (setup); N or C that differ, a patch larger than a map (reshape)
Source    Li, Wand 2016 (arXiv 1601.04589) eq. 2 and 3, there a sum over i
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nst.backend import Array
from nst.core import Blob, Shape
from nst.layers.loss import Loss

ROWS = 1024
"""Patches of F whose likenesses are in memory at a time."""


class MRFLoss(Loss):
    type = "MRFLoss"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.mrf_loss_param
        if p.patch < 1 or p.stride < 1:
            raise self.net_error(
                f"patch and stride must be at least 1 (got patch {p.patch}, stride {p.stride})"
            )
        self.patch: int = p.patch
        self.stride: int = p.stride
        self.relative: bool = p.relative
        self.gradient = self.new_blob()

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        f, t = bottom_shapes
        if len(f) != 4 or len(t) != 4 or f[:2] != t[:2]:
            raise self.shape_error(
                f"features and target must be (N, C, H, W) with one N and C (got {f} and {t})"
            )
        if min(*f[2:], *t[2:]) < self.patch:
            raise self.shape_error(
                f"a patch of {self.patch} does not fit into the maps (got {f} and {t})"
            )
        return [()]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        f, t = bottom[0].data, bottom[1].data
        self.gradient.reshape(*f.shape)
        self.gradient.data[...] = 0
        total = 0.0
        for n in range(len(f)):
            patches = self._patches(f[n], self.stride)
            style = self._patches(t[n], 1)
            difference = patches - style[self._nearest(patches, style)]
            factor = 1 / len(patches)
            if self.relative:
                factor /= float(self.backend.dot(style, style)) / len(style) or 1.0
            total += factor * float(self.backend.dot(difference, difference))
            self._scatter(difference * (2 * factor), self.gradient.data[n])
        top[0].data[...] = total / len(f)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        self.refuse_labels(propagate_down, "target")
        if propagate_down[0]:
            factor = top[0].diff / bottom[0].shape[0]
            self.backend.xp.multiply(self.gradient.data, factor, out=bottom[0].diff)

    def _nearest(self, patches: Array, style: Array) -> Array:
        """Index of the style patch with the largest normalised correlation, for each patch."""
        xp = self.backend.xp
        norms = xp.sqrt((style * style).sum(axis=1))
        directions = style / xp.where(norms > 0, norms, 1)[:, None]
        starts = range(0, len(patches), ROWS)
        return xp.concatenate(
            [(patches[start : start + ROWS] @ directions.T).argmax(axis=1) for start in starts]
        )

    def _patches(self, maps: Array, stride: int) -> Array:
        """All patches of (C, H, W) as rows (I, k * k * C)."""
        columns = [window.reshape(len(maps), -1).T for window in self._windows(maps, stride)]
        return self.backend.xp.concatenate(columns, axis=1)

    def _scatter(self, rows: Array, maps: Array) -> None:
        """Adds rows (I, k * k * C) to the places of their patches in (C, H, W)."""
        channels = len(maps)
        for number, window in enumerate(self._windows(maps, self.stride)):
            part = rows[:, number * channels : (number + 1) * channels]
            window += part.T.reshape(window.shape)

    def _windows(self, maps: Array, stride: int) -> Iterator[Array]:
        """For each of the k * k places in a patch, the view of that place in all patches."""
        high, wide = (size - self.patch + 1 for size in maps.shape[1:])
        for down in range(self.patch):
            for right in range(self.patch):
                yield maps[:, down : down + high : stride, right : right + wide : stride]
